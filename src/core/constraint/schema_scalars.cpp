// See schema_scalars.hpp. Regime: pure.
#include "src/core/constraint/schema_scalars.hpp"

#include "src/core/constraint/string_product.hpp"

#include <algorithm>

namespace steadytext::core::constraint {

const CodePoints &quotable() {
    static const auto *set = new CodePoints{{0x20, 0x21}, {0x23, 0x5B}, {0x5D, CodePoints::kLast}};
    return *set;
}

void ScalarCompiler::complain(const char *state, const char *why) {
    if (problem_.is_set())
        return;
    problem_.set(state, "schema cannot be used");
    problem_.with_detail("%s", why);
}

void ScalarCompiler::build_boolean(State from, State to) {
    network_.add_empty(network_.add_literal(from, "true"), to);
    network_.add_empty(network_.add_literal(from, "false"), to);
}

void ScalarCompiler::build_number(const Json &schema, bool integer, State from, State to) {
    NumberRange range{.integer = integer};
    tighten(schema, "minimum", false, 1, range.least);
    tighten(schema, "exclusiveMinimum", true, 1, range.least);
    tighten(schema, "maximum", false, -1, range.most);
    tighten(schema, "exclusiveMaximum", true, -1, range.most);
    add_number_range(range, network_, from, to);
}

void ScalarCompiler::tighten(const Json &schema, const char *keyword, bool exclusive, int direction,
                             std::optional<Bound> &bound) {
    if (!schema.contains(keyword))
        return;
    const Json &value = schema[keyword];
    if (!is_number(value))
        return complain(sqlstate::kInvalidParameterValue, "A bound of a number is not a number.");
    const char *other = direction > 0 ? "minimum" : "maximum";
    if (bound.has_value() && direction * compare(number_of(value), number_of(schema[other])) < 0)
        return;
    bound = bound_of(number_of(value), exclusive);
    if (bound->digits.find('e') != std::string::npos)
        complain(sqlstate::kProgramLimitExceeded, "A bound of a number has too many digits.");
}

std::optional<std::int64_t> ScalarCompiler::size(const Json &schema, const char *keyword) {
    if (!schema.contains(keyword))
        return std::nullopt;
    const Json &value = schema[keyword];
    if (!is_integer(value) || number_of(value).negative) {
        complain(sqlstate::kInvalidParameterValue, "A length or number of items is not a non-negative integer.");
        return std::nullopt;
    }
    constexpr std::int64_t kEndless = 1'000'000'000'000'000;
    return value.is_number_integer() ? std::min(value.get<std::int64_t>(), kEndless) : kEndless;
}

Rule ScalarCompiler::character() {
    if (!character_.has_value()) {
        character_ = network_.add_rule();
        const State from = network_.start(*character_);
        const State to = network_.end(*character_);
        for (const auto &[first, last] : quotable().ranges())
            network_.add_code_points(from, first, last, to);
        const State escape = network_.add_literal(from, "\\");
        for (const char letter : std::string_view("\"\\/bfnrt"))
            network_.add_bytes(escape, static_cast<std::uint8_t>(letter), static_cast<std::uint8_t>(letter), to);
    }
    return *character_;
}

void ScalarCompiler::build_string(const Json &schema, State from, State to) {
    const auto least = size(schema, "minLength");
    const auto most = size(schema, "maxLength");
    const State open = network_.add_literal(from, "\"");
    const State close = network_.add_state();
    network_.add_bytes(close, '"', '"', to);
    StringForm form{.format = format_of(schema), .least = least.value_or(0), .most = most};
    if (schema.contains("pattern") && !schema["pattern"].is_string())
        return complain(sqlstate::kInvalidParameterValue, "A \"pattern\" is not a string.");
    if (schema.contains("pattern"))
        form.pattern = schema["pattern"].get<std::string>();
    if (problem_.is_set() || form.pattern.has_value() || form.format != nullptr)
        return (void)(!problem_.is_set() && add_string(form, network_, open, close, problem_));
    const std::int64_t limit = std::min(most.value_or(INT64_MAX), std::max(least.value_or(0), kMaxCounted));
    State at = open;
    for (std::int64_t i = 0; i < (most.has_value() ? limit : least.value_or(0)) && network_.fits(); i++) {
        if (i >= least.value_or(0))
            network_.add_empty(at, close);
        const State next = network_.add_state();
        network_.add_call(at, character(), next);
        at = next;
    }
    if (least.value_or(0) > limit)
        return;  // so nothing matches
    network_.add_empty(at, close);
    if (!most.has_value())
        network_.add_call(at, character(), at);
}

const Format *ScalarCompiler::format_of(const Json &schema) {
    if (!schema.contains("format") || !schema["format"].is_string())
        return nullptr;
    const std::string name = schema["format"].get<std::string>();
    if (is_unsupported_format(name))
        complain(sqlstate::kFeatureNotSupported,
                 "The formats of strings that are supported are date, time, date-time, duration, uuid, email, "
                 "hostname, ipv4, ipv6 and uri.");
    return find_format(name);
}

}  // namespace steadytext::core::constraint
