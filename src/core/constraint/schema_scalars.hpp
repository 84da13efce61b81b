// The part of a schema's compiler that is about booleans, numbers and strings: the base of the rest (schema_compiler.cpp).
//
// Regime: pure.
#pragma once

#include "src/core/constraint/code_points.hpp"
#include "src/core/constraint/formats.hpp"
#include "src/core/constraint/number_range.hpp"
#include "src/core/constraint/schema.hpp"
#include "src/core/constraint/schema_document.hpp"

#include <cstdint>
#include <optional>

namespace steadytext::core::constraint {

inline constexpr std::int64_t kMaxCounted = 10'000;  // characters or items that are counted one by one

// Characters that need no escape between quotes.
[[nodiscard]] const CodePoints &quotable();

class ScalarCompiler {
protected:
    ScalarCompiler(Network &network, Problem &problem) : network_(network), problem_(problem) {}

    void complain(const char *state, const char *why);
    void build_boolean(State from, State to);
    void build_number(const Json &schema, bool integer, State from, State to);
    // A size such as minLength, or nothing.
    std::optional<std::int64_t> size(const Json &schema, const char *keyword);
    void build_string(const Json &schema, State from, State to);

    Network &network_;
    Problem &problem_;

private:
    // Of two bounds on the same side the tighter counts: the greater if `direction` is 1.
    void tighten(const Json &schema, const char *keyword, bool exclusive, int direction, std::optional<Bound> &bound);
    // A single character within quotes, as it is or escaped.
    Rule character();
    // Null for a format that is ignored or cannot be guaranteed.
    const Format *format_of(const Json &schema);

    std::optional<Rule> character_;
};

}  // namespace steadytext::core::constraint
