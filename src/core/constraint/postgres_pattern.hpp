// Turns PostgreSQL's regexes, and the patterns of LIKE, as a CHECK has them, into patterns of a JSON schema.
//
// Called by src/pg/check_demands.cpp. Regime: pure (may throw std::bad_alloc). Goes over the pattern once, without
// recursion.
//
// The schema's pattern matches every text that PostgreSQL's pattern matches, and perhaps more: if a class depends on
// the locale, every character beyond ASCII is allowed. So no text is refused that the CHECK accepts; the CHECK itself
// refuses the rest. Whether the result can be used is decided by the compiler of schemas.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace steadytext::core::constraint {

struct SchemaPattern {
    static constexpr std::size_t kEndless = SIZE_MAX;
    std::string text;
    std::size_t longest = kEndless;  // in characters: no matching text has more
    bool matches_blank = false;      // perhaps
};

// For any encoding that contains ASCII unchanged. `ascii`: words and letters are ASCII only. False for a pattern that a
// schema cannot express.
[[nodiscard]] bool schema_pattern(std::string_view pattern, bool ascii, SchemaPattern &result);
// The same for LIKE, whose escape is the backslash. False for a pattern that ends within an escape.
[[nodiscard]] bool schema_pattern_of_like(std::string_view like, SchemaPattern &result);

}  // namespace steadytext::core::constraint
