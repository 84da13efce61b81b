// Checks whether a value satisfies a schema: see schema.hpp. Regime: pure. Recurses as deep as the document, which is
// limited before it is parsed, and no deeper than kMaxLevels, whatever references there are.
//
// No library does this. valijson (draft 7) and jsoncons match patterns by std::regex, which recurses over the text, so
// a long text ends the backend; they also compare numbers as double. Neither counts its steps or can be cancelled.
// t/unit/agreement_test.cpp compares patterns with RE2, which is linear but cannot be cancelled either;
// t/unit/schema_suite_test.cpp runs the official test suite.
#include "src/core/constraint/schema_check.hpp"

#include "src/core/constraint/formats.hpp"
#include "src/core/constraint/matcher.hpp"
#include "src/core/constraint/regex.hpp"
#include "src/core/constraint/schema.hpp"
#include "src/core/json_shape.hpp"

#include <algorithm>
#include <functional>
#include <optional>

namespace steadytext::core::constraint {

namespace {

constexpr std::size_t kMaxLevels = 500;

std::size_t characters(const std::string &text) {
    return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

// The types of a value, a bit for each name.
enum TypeBit : std::uint8_t {
    kObject = 1,
    kArray = 2,
    kString = 4,
    kBoolean = 8,
    kNull = 16,
    kInteger = 32,
    kFraction = 64
};

std::uint8_t bits_of(const std::string &type) {
    return type == "object"    ? kObject
           : type == "array"   ? kArray
           : type == "string"  ? kString
           : type == "boolean" ? kBoolean
           : type == "null"    ? kNull
           : type == "number"  ? kInteger | kFraction
                               : kInteger;
}

std::uint8_t bit_of(const Value &value) {
    return value.is_object()    ? kObject
           : value.is_array()   ? kArray
           : value.is_string()  ? kString
           : value.is_boolean() ? kBoolean
           : value.is_null()    ? kNull
           : is_integer(value)  ? kInteger
                                : kFraction;
}

const Json *member_of(const Json &schema, const char *keyword) {
    const auto found = schema.find(keyword);
    return found == schema.end() ? nullptr : &*found;
}

std::optional<Decimal> bound_of(const Json &schema, const char *keyword) {
    const Json *bound = member_of(schema, keyword);
    return bound == nullptr || !is_number(*bound) ? std::nullopt : std::optional(number_of(*bound));
}

}  // namespace

// A pattern, compiled once for all strings.
class Checker::Pattern {
public:
    // `of_schema`: the pattern comes from the schema; else from a format.
    Pattern(const std::string &pattern, bool of_schema, Work &work) {
        network_.charge_to(&work);
        const RegexForm form{.alphabet = Alphabet::JsonSchema, .of_schema = of_schema};
        if (!add_regex(pattern, form, network_, network_.start(), network_.end(), problem_))
            return;
        network_.finish();
        matcher_ = std::make_unique<Matcher>(network_, &work);
    }

    // If not, `problem()` says why the pattern cannot be used.
    [[nodiscard]] bool is_good() const { return matcher_ != nullptr; }
    [[nodiscard]] const Problem &problem() const { return problem_; }
    [[nodiscard]] bool matches(const std::string &text) { return matcher_->matches(text); }

private:
    Network network_;
    Problem problem_;
    std::unique_ptr<Matcher> matcher_;
};

struct Checker::Bounds {
    std::optional<Decimal> least, most, above, below;

    // Null if the schema has none of these keywords.
    static std::unique_ptr<Bounds> read(const Json &schema, const char *least, const char *most, const char *above = "",
                                        const char *below = "") {
        // Braces: clang 14 knows no parentheses for an aggregate, and the fuzzer is built with it.
        auto bounds = std::make_unique<Bounds>(
            Bounds{bound_of(schema, least), bound_of(schema, most), bound_of(schema, above), bound_of(schema, below)});
        const bool any = bounds->least.has_value() || bounds->most.has_value() || bounds->above.has_value() ||
                         bounds->below.has_value();
        return any ? std::move(bounds) : nullptr;
    }
    [[nodiscard]] bool hold(const Decimal &number) const {
        const auto holds = [&](const std::optional<Decimal> &bound, auto is_kept) {
            return !bound.has_value() || is_kept(compare(number, *bound), 0);
        };
        return holds(least, std::greater_equal<>()) && holds(above, std::greater<>()) &&
               holds(most, std::less_equal<>()) && holds(below, std::less<>());
    }
    [[nodiscard]] bool hold(std::size_t size) const { return hold(decimal_of(std::to_string(size))); }
};

// The demands of a part of the schema, read once. Nested parts are read when a value comes to them.
struct Checker::Form {
    enum class Kind : std::uint8_t { Any, None, Asks };
    Kind kind = Kind::Asks;
    const Json *reference = nullptr;        // the schema that it names
    std::unique_ptr<Problem> no_reference;  // or why the reference cannot be followed
    std::vector<const Json *> all_of, any_of, one_of;
    bool has_any_of = false, has_one_of = false;
    std::uint8_t types = 0xFF;
    bool has_unknown_type = false;  // then bounds are ignored, as their type is unknown
    const ValueSet *constant = nullptr;
    const ValueSet *listed = nullptr;
    std::unique_ptr<Bounds> numbers, characters, items;  // null: there are none
    Pattern *pattern = nullptr;
    Pattern *format_pattern = nullptr;
    const Format *format = nullptr;
    std::string why_no_format;
    std::vector<const Json *> first_items;
    const Json *other_items = nullptr;
    std::vector<const std::string *> required;
    const Json *properties = nullptr;
    const Json *additional = nullptr;
};

Checker::Checker(SchemaDocument &document) : document_(document), work_(document.work()) {}
Checker::~Checker() = default;

bool Checker::satisfies(const Json &schema, const Value &value, Problem &problem) {
    problem_ = &problem;
    path_.clear();
    const bool good = check(schema, value);
    return work_.has_ended() ? work_.tell(problem = Problem(), "checking the answer") : good;
}

// ---- reading the schema ---------------------------------------------------------------------------------------------

const Checker::Form &Checker::form_of(const Json &schema) {
    std::unique_ptr<Form> &form = forms_[&schema];
    if (form != nullptr)
        return *form;
    form = std::make_unique<Form>();
    if (schema.is_boolean()) {
        form->kind = schema.get<bool>() ? Form::Kind::Any : Form::Kind::None;
        return *form;
    }
    (void)work_.spend(32 + schema.size());
    if (const Json *reference = member_of(schema, "$ref"); reference != nullptr) {
        Problem problem;
        if (!reference->is_string())
            problem.set(sqlstate::kInvalidParameterValue, "a schema's $ref must be a text");
        else
            form->reference = document_.resolve(reference->get_ref<const std::string &>(), problem);
        if (form->reference == nullptr)
            form->no_reference = std::make_unique<Problem>(problem);
    }
    const auto read_list = [&](const char *keyword, std::vector<const Json *> &list) {
        const Json *parts = member_of(schema, keyword);
        for (std::size_t i = 0; parts != nullptr && i < parts->size() && work_.spend(); i++)
            list.push_back(&(*parts)[i]);
        return parts != nullptr;
    };
    (void)read_list("allOf", form->all_of);
    form->has_any_of = read_list("anyOf", form->any_of);
    form->has_one_of = read_list("oneOf", form->one_of);
    (void)read_list("prefixItems", form->first_items);
    read_values(schema, *form);
    form->numbers = Bounds::read(schema, "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum");
    form->characters = Bounds::read(schema, "minLength", "maxLength");
    form->items = Bounds::read(schema, "minItems", "maxItems");
    read_strings(schema, *form);
    read_members(schema, *form);
    return *form;
}

void Checker::read_values(const Json &schema, Form &form) {
    if (const Json *type = member_of(schema, "type"); type != nullptr) {
        (void)work_.spend(type->is_array() ? type->size() : 1);
        const std::vector<std::string> types = types_of(schema);
        form.has_unknown_type = types.empty();
        form.types = types.empty() ? 0xFF : 0;
        for (const std::string &name : types)
            form.types |= bits_of(name);
    }
    if (const Json *constant = member_of(schema, "const"); constant != nullptr)
        form.constant = set_of(*constant, false);
    if (const Json *listed = member_of(schema, "enum"); listed != nullptr)
        form.listed = set_of(*listed, true);
}

const ValueSet *Checker::set_of(const Json &values, bool is_list) {
    const auto [found, is_new] = lists_.try_emplace(&values);
    if (is_new && is_list)
        for (auto value = values.begin(); value != values.end() && document_.afford(*value); ++value)
            (void)found->second.add(Value(*value), work_);
    else if (is_new && document_.afford(values))
        (void)found->second.add(Value(values), work_);
    return &found->second;
}

void Checker::read_strings(const Json &schema, Form &form) {
    if (const Json *pattern = member_of(schema, "pattern"); pattern != nullptr && pattern->is_string())
        form.pattern = pattern_of(pattern->get_ref<const std::string &>(), true);
    const Json *format = member_of(schema, "format");
    form.format =
        format != nullptr && format->is_string() ? find_format(format->get_ref<const std::string &>()) : nullptr;
    if (form.format == nullptr)
        return;
    form.format_pattern = pattern_of(std::string(form.format->taken), false);
    form.why_no_format =
        "the string is not of the format \"" + format->get_ref<const std::string &>().substr(0, 40) + "\"";
}

Checker::Pattern *Checker::pattern_of(const std::string &pattern, bool of_schema) {
    std::unique_ptr<Pattern> &compiled = patterns_[{pattern, of_schema}];
    if (compiled == nullptr)
        compiled = std::make_unique<Pattern>(pattern, of_schema, work_);
    return compiled.get();
}

void Checker::read_members(const Json &schema, Form &form) {
    form.other_items = member_of(schema, "items");
    form.properties = member_of(schema, "properties");
    if (form.properties != nullptr && !form.properties->is_object())
        form.properties = nullptr;
    form.additional = member_of(schema, "additionalProperties");
    const Json *required = member_of(schema, "required");
    for (std::size_t i = 0; required != nullptr && i < required->size() && work_.spend(); i++)
        if ((*required)[i].is_string())
            form.required.push_back(&(*required)[i].get_ref<const std::string &>());
}

// ---- checking values ------------------------------------------------------------------------------------------------

bool Checker::check(const Json &schema, const Value &value) {
    if (!work_.spend(16))
        return false;
    if (level_ > kMaxLevels)
        return fail("it is nested too deeply to be checked");
    const Form &form = form_of(schema);
    level_++;
    const bool good = check_form(form, value) && !work_.has_ended();
    level_--;
    return good;
}

bool Checker::check_form(const Form &form, const Value &value) {
    if (form.kind != Form::Kind::Asks)
        return form.kind == Form::Kind::Any || fail("nothing is allowed here");
    return check_combined(form, value) && check_type(form, value) && check_values(form, value) &&
           (form.has_unknown_type || check_by_type(form, value));
}

bool Checker::fail(const char *why) {
    if (problem_ != nullptr && !problem_->is_set()) {
        problem_->set(sqlstate::kProtocolViolation, "the answer does not satisfy the schema");
        problem_->with_detail("At \"%.200s\": %s.", path_.c_str(), why);
    }
    return false;
}

// For alternatives: a failing alternative is no error to report.
bool Checker::holds(const Json &schema, const Value &value) {
    Problem *told = std::exchange(problem_, nullptr);
    const bool good = check(schema, value);
    problem_ = told;
    return good;
}

bool Checker::check_combined(const Form &form, const Value &value) {
    if (form.no_reference != nullptr) {
        if (problem_ != nullptr && !problem_->is_set())
            *problem_ = *form.no_reference;
        return false;
    }
    if (form.reference != nullptr && !check(*form.reference, value))
        return false;
    for (const Json *part : form.all_of)
        if (!check(*part, value))
            return false;
    if (form.has_any_of &&
        std::none_of(form.any_of.begin(), form.any_of.end(), [&](const Json *part) { return holds(*part, value); }))
        return fail("no alternative matches");
    if (!form.has_one_of)
        return true;
    const auto matching =
        std::count_if(form.one_of.begin(), form.one_of.end(), [&](const Json *part) { return holds(*part, value); });
    return matching == 1 || fail(matching == 0 ? "no alternative matches" : "more than one alternative matches");
}

bool Checker::check_type(const Form &form, const Value &value) {
    if (value.is_binary() && !work_.spend(value.get_binary().size() / 8))
        return false;
    return form.types == 0xFF || (form.types & bit_of(value)) != 0 || fail("the value is of another type");
}

bool Checker::check_values(const Form &form, const Value &value) {
    if (form.constant != nullptr && !form.constant->contains(value, work_))
        return fail("the value is not the constant");
    return form.listed == nullptr || form.listed->contains(value, work_) || fail("the value is none of those listed");
}

bool Checker::check_by_type(const Form &form, const Value &value) {
    return (!is_number(value) || check_number(form, value)) &&
           (!value.is_string() || check_string(form, value.get_ref<const std::string &>())) &&
           (!value.is_array() || check_array(form, value)) && (!value.is_object() || check_object(form, value));
}

bool Checker::check_number(const Form &form, const Value &value) {
    if (form.numbers == nullptr)
        return true;
    const Decimal number = number_of(value);
    return work_.spend(8 + number.digits.size() / 8) &&
           (form.numbers->hold(number) || fail("the number is out of bounds"));
}

bool Checker::check_string(const Form &form, const std::string &text) {
    if (form.characters != nullptr && (!work_.spend(8 + text.size() / 16) || !form.characters->hold(characters(text))))
        return fail("the string is too short or too long");
    if (form.pattern != nullptr && !check_pattern(*form.pattern, text, "the string does not match the pattern"))
        return false;
    return form.format == nullptr ||
           (check_pattern(*form.format_pattern, text, form.why_no_format.c_str()) &&
            (form.format->also == nullptr || form.format->also(text) || fail(form.why_no_format.c_str())));
}

bool Checker::check_pattern(Pattern &pattern, const std::string &text, const char *why) {
    if (!pattern.is_good()) {
        if (problem_ != nullptr && !problem_->is_set())
            *problem_ = pattern.problem();
        return false;
    }
    return pattern.matches(text) || fail(why);
}

bool Checker::check_array(const Form &form, const Value &value) {
    if (form.items != nullptr && !form.items->hold(value.size()))
        return fail("the array has too few or too many items");
    for (std::size_t i = 0; i < value.size(); i++) {
        if (i >= form.first_items.size() && form.other_items == nullptr)
            return true;
        if (!check_at(std::to_string(i), i < form.first_items.size() ? *form.first_items[i] : *form.other_items,
                      value[i]))
            return false;
    }
    return true;
}

bool Checker::check_object(const Form &form, const Value &value) {
    for (const std::string *name : form.required)
        if (!work_.spend(4 + name->size() / 16) || !value.contains(*name))
            return fail("a required member is missing");
    if (form.properties == nullptr && form.additional == nullptr)
        return true;
    for (auto member = value.begin(); member != value.end(); ++member) {
        if (!work_.spend(8 + member.key().size() / 16))
            return false;
        const Json *declared = form.properties != nullptr ? document_.member(*form.properties, member.key()) : nullptr;
        const Json *wanted = declared != nullptr ? declared : form.additional;
        if (wanted != nullptr && !check_at(member.key(), *wanted, *member))
            return false;
    }
    return true;
}

// The path is kept only a little longer than its report, as names may have any length.
bool Checker::check_at(const std::string &name, const Json &schema, const Value &value) {
    constexpr std::size_t kLongestPath = 256;
    const std::size_t size = path_.size();
    if (size < kLongestPath)
        path_.append("/").append(name, 0, kLongestPath);
    const bool good = check(schema, value);
    path_.resize(size);
    return good;
}

bool check_document(std::string_view schema, std::string_view document, Problem &problem, Work *work) {
    Work own(kMaxCheckingSteps);
    SchemaDocument wanted(work != nullptr ? *work : own);
    if (!wanted.read(schema, problem))
        return false;
    if (shape_of(document, {kMaxLevels, UINT64_MAX}) == JsonShape::TooDeep)
        return problem.set(sqlstate::kProtocolViolation, "the answer is nested too deeply to be checked");
    (void)wanted.work().spend(document.size() / 4);
    Value value;
    if (!read_json(document, value, wanted.work()))
        return wanted.work().has_ended() ? wanted.work().tell(problem, "checking the answer")
                                         : problem.set(sqlstate::kProtocolViolation, "the answer is not JSON");
    return Checker(wanted).satisfies(wanted.root(), value, problem);
}

}  // namespace steadytext::core::constraint
