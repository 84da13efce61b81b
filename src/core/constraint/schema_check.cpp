// Does a value satisfy a schema: see schema.hpp. Regime: pure.
#include "src/core/constraint/matcher.hpp"
#include "src/core/constraint/regex.hpp"
#include "src/core/constraint/schema.hpp"
#include "src/core/constraint/schema_document.hpp"
#include "src/core/reply.hpp"

#include <algorithm>
#include <cmath>

namespace steadytext::core::constraint {

namespace {

constexpr int kMaxChecks = 1'000'000;  // schemas looked at for one document
constexpr int kMaxLevels = 500;

std::size_t characters(const std::string &text) {
    return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

class Checker {
public:
    Checker(const SchemaDocument &document, Problem &problem) : document_(document), problem_(problem) {}

    bool check(const Json &schema, const Json &value) {
        if (schema.is_boolean())
            return schema.get<bool>() || fail("nothing is allowed here");
        if (++checks_ > kMaxChecks || level_ > kMaxLevels)
            return fail("it is nested too deeply to be checked");
        level_++;
        const bool good = check_combined(schema, value) && check_type(schema, value) && check_values(schema, value) &&
                          (allows_any_value(schema) || check_by_type(schema, value));
        level_--;
        return good;
    }

private:
    bool fail(const char *why) {
        if (!problem_.is_set()) {
            problem_.set(sqlstate::kProtocolViolation, "the answer does not satisfy the schema");
            problem_.with_detail("At \"%.200s\": %s.", path_.c_str(), why);
        }
        return false;
    }

    // Of alternatives it is no news which one failed.
    bool holds(const Json &schema, const Json &value) {
        Problem ignored;
        Checker other(document_, ignored);
        other.level_ = level_;
        other.checks_ = checks_;
        const bool good = other.check(schema, value);
        checks_ = other.checks_;
        return good;
    }

    bool check_combined(const Json &schema, const Json &value) {
        if (schema.contains("$ref")) {
            const Json *target = schema["$ref"].is_string() ? document_.resolve(schema["$ref"], problem_) : nullptr;
            if (target == nullptr || !check(*target, value))
                return fail("it is not what the reference names");
        }
        for (const Json &part : schema.value("allOf", Json::array()))
            if (!check(part, value))
                return false;
        for (const char *keyword : {"anyOf", "oneOf"}) {
            if (!schema.contains(keyword))
                continue;
            const auto matching = std::count_if(schema[keyword].begin(), schema[keyword].end(),
                                                [&](const Json &part) { return holds(part, value); });
            if (matching == 0 || (matching > 1 && std::string_view(keyword) == "oneOf"))
                return fail(matching == 0 ? "no alternative matches" : "more than one alternative matches");
        }
        return true;
    }

    // By an unknown type, whatever bounds stand beside it: there is no telling what they would be of.
    static bool allows_any_value(const Json &schema) { return schema.contains("type") && types_of(schema).empty(); }

    bool check_by_type(const Json &schema, const Json &value) {
        return (!value.is_number() || check_number(schema, value)) &&
               (!value.is_string() || check_string(schema, value.get_ref<const std::string &>())) &&
               (!value.is_array() || check_array(schema, value)) && (!value.is_object() || check_object(schema, value));
    }

    bool check_type(const Json &schema, const Json &value) {
        const std::vector<std::string> types = types_of(schema);
        const auto is = [&](const std::string &type) {
            return type == "object"    ? value.is_object()
                   : type == "array"   ? value.is_array()
                   : type == "string"  ? value.is_string()
                   : type == "boolean" ? value.is_boolean()
                   : type == "null"    ? value.is_null()
                   : type == "number"  ? value.is_number()
                                       : value.is_number_integer() || (value.is_number() && value.get<double>() == std::floor(value.get<double>()));
        };
        return types.empty() || std::any_of(types.begin(), types.end(), is) || fail("the value is of another type");
    }

    bool check_values(const Json &schema, const Json &value) {
        if (schema.contains("const") && !equal_values(schema["const"], value))
            return fail("the value is not the constant");
        const auto found = schema.find("enum");
        return found == schema.end() ||
               std::any_of(found->begin(), found->end(), [&](const Json &allowed) { return equal_values(allowed, value); }) ||
               fail("the value is none of those listed");
    }

    bool check_number(const Json &schema, const Json &value) {
        const auto bound = [&](const char *keyword, auto compare) {
            return !schema.contains(keyword) || !schema[keyword].is_number() || compare(value, schema[keyword]);
        };
        return (bound("minimum", std::greater_equal<>()) && bound("exclusiveMinimum", std::greater<>()) &&
                bound("maximum", std::less_equal<>()) && bound("exclusiveMaximum", std::less<>())) ||
               fail("the number is out of bounds");
    }

    [[nodiscard]] static bool size_in_bounds(const Json &schema, std::size_t size, const char *least, const char *most) {
        const auto count = static_cast<double>(size);
        return count >= schema.value(least, 0.0) && (!schema.contains(most) || count <= schema.value(most, 0.0));
    }

    bool check_string(const Json &schema, const std::string &text) {
        if (!size_in_bounds(schema, characters(text), "minLength", "maxLength"))
            return fail("the string is too short or too long");
        if (!schema.contains("pattern"))
            return true;
        // A pattern may match anywhere, unless it says otherwise; what it says of beginning and end is heeded at its own.
        const std::string pattern = schema["pattern"];
        Network network;
        const State before = network.add_state();
        const State after = network.add_state();
        const auto skip_any = [&](State state) { network.add_bytes(state, 0, 255, state); };
        if (!pattern.starts_with('^'))
            skip_any(before);
        if (!pattern.ends_with('$'))
            skip_any(after);
        network.add_empty(network.start(), before);
        network.add_empty(after, network.end());
        if (!add_regex(pattern, Encoding::Plain, network, before, after, problem_))
            return false;
        network.finish();
        return Matcher(network).matches(text) || fail("the string does not match the pattern");
    }

    bool check_array(const Json &schema, const Json &value) {
        if (!size_in_bounds(schema, value.size(), "minItems", "maxItems"))
            return fail("the array has too few or too many items");
        const Json none = Json::array();
        const Json &first = schema.contains("prefixItems") ? schema["prefixItems"] : none;
        for (std::size_t i = 0; i < value.size(); i++) {
            if (i < first.size() ? !check_at(std::to_string(i), first[i], value[i])
                                 : schema.contains("items") && !check_at(std::to_string(i), schema["items"], value[i]))
                return false;
        }
        return true;
    }

    bool check_object(const Json &schema, const Json &value) {
        for (const Json &name : schema.value("required", Json::array()))
            if (!value.contains(name.get<std::string>()))
                return fail("a required member is missing");
        const Json none = Json::object();
        const Json &properties = schema.contains("properties") ? schema["properties"] : none;
        for (const auto &[name, member] : value.items()) {
            if (properties.contains(name) ? !check_at(name, properties[name], member)
                                          : schema.contains("additionalProperties") &&
                                                !check_at(name, schema["additionalProperties"], member))
                return false;
        }
        return true;
    }

    bool check_at(const std::string &name, const Json &schema, const Json &value) {
        const std::size_t size = path_.size();
        path_.append("/").append(name);
        const bool good = check(schema, value);
        path_.resize(size);
        return good;
    }

    const SchemaDocument &document_;
    Problem &problem_;
    std::string path_;
    int level_ = 0;
    int checks_ = 0;
};

}  // namespace

bool equal_values(const Json &a, const Json &b) { return nlohmann::json(a) == nlohmann::json(b); }

bool satisfies(const SchemaDocument &document, const Json &schema, const Json &value, Problem &problem) {
    return Checker(document, problem).check(schema, value);
}

bool check_document(std::string_view schema, std::string_view document, Problem &problem) {
    SchemaDocument wanted;
    if (!wanted.read(schema, problem))
        return false;
    const Json value = Json::parse(document, nullptr, false);
    if (value.is_discarded())
        return problem.set(sqlstate::kProtocolViolation, "the answer is not JSON");
    return satisfies(wanted, wanted.root(), value, problem);
}

}  // namespace steadytext::core::constraint
