// Strings that match a pattern, have a format and have a length, all at once.
//
// Called by schema_compiler.cpp. Regime: pure (may throw std::bad_alloc).
//
// The pattern and the format become graphs whose edges are sets of characters (Thompson 1968). Their product with a
// counter of characters is built (Rabin and Scott 1959): only states that can be reached, and from which the end can be
// reached within the length. Each state of the product is a state of the network, so a product that is too large fails
// like any other schema.
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

// Beside a pattern or format, at most so many characters are counted: no answer is longer, unless minLength is.
inline constexpr std::int64_t kMaxMatched = 4'096;

// Adds these strings, as JSON writes them, between two states. The form must have a pattern or a format. False with the
// problem, see add_regex().
[[nodiscard]] bool add_string(const StringForm &form, Network &network, State from, State to, Problem &problem);

}  // namespace steadytext::core::constraint
