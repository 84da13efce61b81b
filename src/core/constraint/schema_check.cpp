// Does a value satisfy a schema: see schema.hpp. Regime: pure. Recursion goes as deep as the document, which is bounded before it is parsed,
// and no deeper than kMaxLevels, whatever references there are.
//
// No library does it: valijson (draft 7) and jsoncons match patterns by std::regex, which recurses over the text and so ends a backend by a
// long one, and compare numbers as double; neither counts its steps or can be cancelled. RE2, which is linear but cannot be cancelled either,
// is what patterns are held against in t/unit/agreement_test.cpp, and the official test suite in t/unit/schema_suite_test.cpp.
#include "src/core/constraint/schema_check.hpp"

#include "src/core/constraint/formats.hpp"
#include "src/core/constraint/matcher.hpp"
#include "src/core/constraint/regex.hpp"
#include "src/core/constraint/schema.hpp"
#include "src/core/json_shape.hpp"

#include <algorithm>
#include <functional>

namespace steadytext::core::constraint {

namespace {

constexpr std::size_t kMaxLevels = 500;

std::size_t characters(const std::string &text) {
    return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

const Json &member_or(const Json &schema, const char *keyword, const Json &otherwise) {
    const auto found = schema.find(keyword);
    return found == schema.end() ? otherwise : *found;
}

const Json &no_list() {
    static const auto *none = new Json(Json::array());
    return *none;
}
const Json &no_members() {
    static const auto *none = new Json(Json::object());
    return *none;
}

}  // namespace

// A pattern, compiled once for all strings.
class Checker::Pattern {
public:
    // `of_schema`: it is the schema's, else a format's.
    Pattern(const std::string &pattern, bool of_schema, Work &work) {
        network_.charge_to(&work);
        const RegexForm form{.alphabet = Alphabet::JsonSchema, .of_schema = of_schema};
        if (!add_regex(pattern, form, network_, network_.start(), network_.end(), problem_))
            return;
        network_.finish();
        matcher_ = std::make_unique<Matcher>(network_, &work);
    }

    // Else `problem()` says why there is no saying.
    [[nodiscard]] bool is_good() const { return matcher_ != nullptr; }
    [[nodiscard]] const Problem &problem() const { return problem_; }
    [[nodiscard]] bool matches(const std::string &text) { return matcher_->matches(text); }

private:
    Network network_;
    Problem problem_;
    std::unique_ptr<Matcher> matcher_;
};

Checker::Checker(SchemaDocument &document) : document_(document), work_(document.work()) {}
Checker::~Checker() = default;

bool Checker::satisfies(const Json &schema, const Value &value, Problem &problem) {
    problem_ = &problem;
    path_.clear();
    const bool good = check(schema, value);
    return work_.has_ended() ? work_.tell(problem = Problem(), "checking the answer") : good;
}

bool Checker::check(const Json &schema, const Value &value) {
    if (schema.is_boolean())
        return schema.get<bool>() || fail("nothing is allowed here");
    if (!work_.spend(16 + schema.size()))
        return false;
    if (level_ > kMaxLevels)
        return fail("it is nested too deeply to be checked");
    level_++;
    const bool good = check_combined(schema, value) && check_type(schema, value) && check_values(schema, value) &&
                      (allows_any_value(schema) || check_by_type(schema, value));
    level_--;
    return good;
}

bool Checker::fail(const char *why) {
    if (!problem_->is_set()) {
        problem_->set(sqlstate::kProtocolViolation, "the answer does not satisfy the schema");
        problem_->with_detail("At \"%.200s\": %s.", path_.c_str(), why);
    }
    return false;
}

// Of alternatives it is no news which one failed.
bool Checker::holds(const Json &schema, const Value &value) {
    Problem ignored;
    Problem *told = std::exchange(problem_, &ignored);
    const bool good = check(schema, value);
    problem_ = told;
    return good;
}

bool Checker::check_combined(const Json &schema, const Value &value) {
    if (const auto reference = schema.find("$ref"); reference != schema.end()) {
        const Json *target = reference->is_string() ? document_.resolve(reference->get<std::string>(), *problem_) : nullptr;
        if (target == nullptr || !check(*target, value))
            return fail("it is not what the reference names");
    }
    for (const Json &part : member_or(schema, "allOf", no_list()))
        if (!check(part, value))
            return false;
    for (const char *keyword : {"anyOf", "oneOf"}) {
        const auto parts = schema.find(keyword);
        if (parts == schema.end())
            continue;
        const auto matching = std::count_if(parts->begin(), parts->end(), [&](const Json &part) { return holds(part, value); });
        if (matching == 0 || (matching > 1 && std::string_view(keyword) == "oneOf"))
            return fail(matching == 0 ? "no alternative matches" : "more than one alternative matches");
    }
    return true;
}

// By an unknown type, whatever bounds stand beside it: there is no telling what they would be of.
bool Checker::allows_any_value(const Json &schema) { return schema.contains("type") && types_of(schema).empty(); }

bool Checker::check_by_type(const Json &schema, const Value &value) {
    return (!is_number(value) || check_number(schema, value)) &&
           (!value.is_string() || check_string(schema, value.get_ref<const std::string &>())) &&
           (!value.is_array() || check_array(schema, value)) && (!value.is_object() || check_object(schema, value));
}

bool Checker::check_type(const Json &schema, const Value &value) {
    const std::vector<std::string> types = types_of(schema);
    const auto is = [&](const std::string &type) {
        return type == "object"    ? value.is_object()
               : type == "array"   ? value.is_array()
               : type == "string"  ? value.is_string()
               : type == "boolean" ? value.is_boolean()
               : type == "null"    ? value.is_null()
               : type == "number"  ? is_number(value)
                                   : is_integer(value);
    };
    return types.empty() || std::any_of(types.begin(), types.end(), is) || fail("the value is of another type");
}

bool Checker::check_values(const Json &schema, const Value &value) {
    const auto constant = schema.find("const");
    if (constant != schema.end() && Value(*constant) != value)
        return fail("the value is not the constant");
    const auto listed = schema.find("enum");
    return listed == schema.end() || list(*listed).contains(value) || fail("the value is none of those listed");
}

const ValueSet &Checker::list(const Json &values) {
    const auto [found, is_new] = lists_.try_emplace(&values);
    if (is_new)
        for (const Json &value : values)
            (void)found->second.add(Value(value));
    (void)work_.spend(is_new ? 8 * values.size() : 8);
    return found->second;
}

bool Checker::check_number(const Json &schema, const Value &value) {
    const Decimal number = number_of(value);
    const auto bound = [&](const char *keyword, auto holds) {
        const auto found = schema.find(keyword);
        return found == schema.end() || !is_number(*found) || holds(compare(number, number_of(*found)), 0);
    };
    return (bound("minimum", std::greater_equal<>()) && bound("exclusiveMinimum", std::greater<>()) &&
            bound("maximum", std::less_equal<>()) && bound("exclusiveMaximum", std::less<>())) ||
           fail("the number is out of bounds");
}

bool Checker::size_in_bounds(const Json &schema, std::size_t size, const char *least, const char *most) {
    const Decimal count = decimal_of(std::to_string(size));
    const auto order = [&](const char *keyword) {
        const auto found = schema.find(keyword);
        return found == schema.end() || !is_number(*found) ? 0 : compare(count, number_of(*found));
    };
    return order(least) >= 0 && order(most) <= 0;
}

bool Checker::check_string(const Json &schema, const std::string &text) {
    (void)work_.spend(text.size() / 16);
    if (!size_in_bounds(schema, characters(text), "minLength", "maxLength"))
        return fail("the string is too short or too long");
    const auto pattern = schema.find("pattern");
    const auto format = schema.find("format");
    return (pattern == schema.end() || check_pattern(pattern->get<std::string>(), true, text, "the string does not match the pattern")) &&
           (format == schema.end() || !format->is_string() || check_format(format->get<std::string>(), text));
}

bool Checker::check_format(const std::string &name, const std::string &text) {
    const Format *format = find_format(name);
    const std::string why = "the string is not of the format \"" + name.substr(0, 40) + "\"";
    return format == nullptr || (check_pattern(std::string(format->taken), false, text, why.c_str()) &&
                                 (format->also == nullptr || format->also(text) || fail(why.c_str())));
}

bool Checker::check_pattern(const std::string &pattern, bool of_schema, const std::string &text, const char *why) {
    std::unique_ptr<Pattern> &compiled = patterns_[{pattern, of_schema}];
    if (compiled == nullptr)
        compiled = std::make_unique<Pattern>(pattern, of_schema, work_);
    if (!compiled->is_good()) {
        if (!problem_->is_set())
            *problem_ = compiled->problem();
        return false;
    }
    return compiled->matches(text) || fail(why);
}

bool Checker::check_array(const Json &schema, const Value &value) {
    if (!size_in_bounds(schema, value.size(), "minItems", "maxItems"))
        return fail("the array has too few or too many items");
    const Json &first = member_or(schema, "prefixItems", no_list());
    const auto items = schema.find("items");
    for (std::size_t i = 0; i < value.size(); i++) {
        if (i >= first.size() && items == schema.end())
            return true;
        if (!check_at(std::to_string(i), i < first.size() ? first[i] : *items, value[i]))
            return false;
    }
    return true;
}

bool Checker::check_object(const Json &schema, const Value &value) {
    for (const Json &name : member_or(schema, "required", no_list()))
        if (!work_.spend(4) || (name.is_string() && !value.contains(name.get<std::string>())))
            return fail("a required member is missing");
    const Json &properties = member_or(schema, "properties", no_members());
    const auto additional = schema.find("additionalProperties");
    for (const auto &[name, member] : value.items()) {
        const Json *declared = properties.is_object() ? document_.member(properties, name) : nullptr;
        if (declared == nullptr && additional == schema.end())
            continue;
        if (!check_at(name, declared != nullptr ? *declared : *additional, member))
            return false;
    }
    return true;
}

bool Checker::check_at(const std::string &name, const Json &schema, const Value &value) {
    const std::size_t size = path_.size();
    path_.append("/").append(name);
    const bool good = check(schema, value);
    path_.resize(size);
    return good;
}

bool check_document(std::string_view schema, std::string_view document, Problem &problem, Work *work) {
    Work own(kMostCheckingSteps);
    SchemaDocument wanted(work != nullptr ? *work : own);
    if (!wanted.read(schema, problem))
        return false;
    if (shape_of(document, {kMaxLevels, UINT64_MAX}) == JsonShape::TooDeep)
        return problem.set(sqlstate::kProtocolViolation, "the answer is nested too deeply to be checked");
    (void)wanted.work().spend(document.size());
    Value value;
    if (!read_json(document, value))
        return problem.set(sqlstate::kProtocolViolation, "the answer is not JSON");
    return Checker(wanted).satisfies(wanted.root(), value, problem);
}

}  // namespace steadytext::core::constraint
