// Strings that match a pattern, are of a format and of a length, all at once.
//
// Used by schema_compiler.cpp. Regime: pure (may throw std::bad_alloc).
//
// Pattern and format become graphs whose edges are sets of characters (Thompson 1968); what is built is their product with a counter of
// characters, as far as it can be reached and from it the end within the length (Rabin and Scott 1959). Each of its states is one of the
// network's: what is too large is found out as for any other schema.
#pragma once

#include "src/core/constraint/formats.hpp"
#include "src/core/constraint/network.hpp"
#include "src/core/problem.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace steadytext::core::constraint {

struct StringForm {
    std::optional<std::string> pattern{};  // which may match anywhere
    const Format *format = nullptr;
    std::int64_t least = 0;  // characters
    std::optional<std::int64_t> most{};
};

// Beside a pattern or format no more characters than these are counted: what is generated is not longer, unless minLength is.
inline constexpr std::int64_t kMostMatched = 4'096;

// Adds these strings, as JSON has them, between two states; a pattern or a format is there. False with the problem, see add_regex().
[[nodiscard]] bool add_string(const StringForm &form, Network &network, State from, State to, Problem &problem);

}  // namespace steadytext::core::constraint
