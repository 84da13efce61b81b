// The limits of schemas, regexes and lists of choices, in size and cost: docs/structured.md explains each.
//
// Used by src/core/constraint, by the validator table (src/core/parameters.*) and by daemon/constrained_text.*. Regime:
// pure.
#pragma once

#include <cstddef>
#include <cstdint>

namespace steadytext::core::constraint {

inline constexpr std::size_t kMostSchemaBytes = 65'536;
inline constexpr std::size_t kMostSchemaDepth = 200;     // arrays and objects within each other
inline constexpr std::size_t kMostPatternBytes = 4'096;  // for every pattern
inline constexpr std::size_t kMostChoiceBytes = 4'096;   // of each choice
inline constexpr std::size_t kMostChoices = 1'000;

// Limits in steps of core::Work, for compiling and for checking an answer: some tenths of a second each.
inline constexpr std::uint64_t kMostCompilingSteps = 20'000'000;
inline constexpr std::uint64_t kMostCheckingSteps = 30'000'000;

// Limits for finding the tokens that may follow: some tenths of a second for a token, some seconds for a whole answer.
inline constexpr std::uint64_t kMostStepsOfToken = 100'000'000;
inline constexpr std::uint64_t kMostStepsOfAnswer = 1'000'000'000;

}  // namespace steadytext::core::constraint
