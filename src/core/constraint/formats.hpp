// The formats of strings that JSON Schema names and this project keeps to: what is generated for one, and what satisfies it.
//
// Used by schema_compiler.cpp and schema_check.cpp. Regime: pure (may throw std::bad_alloc).
//
// What is generated is narrower than what is taken: years of four digits that are no leap days, names of three labels. A format of the
// standard that is not here is an error, as it could not be promised; one that the standard does not know is ignored, as it says.
#pragma once

#include <cstddef>
#include <string_view>

namespace steadytext::core::constraint {

struct Format {
    std::string_view name;
    std::string_view generated;  // a pattern of the whole string
    std::size_t shortest;        // characters of what is generated
    std::size_t longest;
    std::string_view taken;                     // a pattern of the whole string
    bool (*also)(std::string_view) = nullptr;   // what a pattern cannot say of it
};

// Null for a name that is not one of these.
[[nodiscard]] const Format *find_format(std::string_view name);
// One of the standard's that is not here.
[[nodiscard]] bool is_unsupported_format(std::string_view name);

}  // namespace steadytext::core::constraint
