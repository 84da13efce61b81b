// The string formats of JSON Schema that this project supports: the text that is generated, and the text that is
// accepted.
//
// Used by schema_compiler.cpp and schema_check.cpp. Regime: pure (may throw std::bad_alloc).
//
// Generated text is narrower than accepted text: years of four digits without leap days, host names of two to four
// labels. An unsupported format of the standard is an error, as it could not be guaranteed; a format that the standard
// does not know is ignored, as the standard says.
#pragma once

#include <cstddef>
#include <string_view>

namespace steadytext::core::constraint {

struct Format {
    std::string_view name;
    std::string_view generated;  // a pattern for the whole string
    std::size_t shortest;        // characters of generated text
    std::size_t longest;
    std::string_view taken;                    // a pattern for the whole string
    bool (*also)(std::string_view) = nullptr;  // a condition that no pattern can express
};

// Null for a name that is not supported.
[[nodiscard]] const Format *find_format(std::string_view name);
// True for a format of the standard that is not supported.
[[nodiscard]] bool is_unsupported_format(std::string_view name);

}  // namespace steadytext::core::constraint
