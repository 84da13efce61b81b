// PostgreSQL's regexes, and what stands behind LIKE, as a CHECK has them, as patterns of a JSON schema.
//
// Called by src/pg/check_demands.cpp. Regime: pure (may throw std::bad_alloc). Goes over the pattern once, without recursion.
//
// What the schema's pattern matches is all that PostgreSQL's does, and perhaps more: where a class depends on the locale, every character
// beyond ASCII is let in. So nothing that the CHECK takes is refused; what it does not take is left to the CHECK. That the result can be
// used is for the compiler of schemas to say.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace steadytext::core::constraint {

struct SchemaPattern {
    static constexpr std::size_t kEndless = SIZE_MAX;
    std::string text;
    std::size_t longest = kEndless;  // characters: no text that matches has more
    bool matches_blank = false;      // perhaps
};

// In any encoding that has ASCII as it is. `ascii`: words and letters are of ASCII only. False for what is not to be had in a schema.
[[nodiscard]] bool schema_pattern(std::string_view pattern, bool ascii, SchemaPattern &result);
// The same of LIKE, whose escape is the backslash. False for one that ends within an escape.
[[nodiscard]] bool schema_pattern_of_like(std::string_view like, SchemaPattern &result);

}  // namespace steadytext::core::constraint
