// The limits of schemas, regexes and lists of choices, in size and cost: docs/structured.md explains each.
//
// Used by src/core/constraint, by the validator table (src/core/parameters.*) and by daemon/constrained_text.*. Regime:
// pure.
#pragma once

#include <cstddef>
#include <cstdint>

namespace steadytext::core::constraint {

inline constexpr std::size_t kMaxSchemaBytes = 65'536;
inline constexpr std::size_t kMaxSchemaDepth = 200;     // arrays and objects within each other
inline constexpr std::size_t kMaxPatternBytes = 4'096;  // for every pattern
inline constexpr std::size_t kMaxChoiceBytes = 4'096;   // of each choice
inline constexpr std::size_t kMaxChoices = 1'000;

// Limits in steps of core::Work, for compiling and for checking an answer: some tenths of a second each.
inline constexpr std::uint64_t kMaxCompilingSteps = 20'000'000;
inline constexpr std::uint64_t kMaxCheckingSteps = 30'000'000;

// Limits for finding the tokens that may follow: some tenths of a second for a token, some seconds for a whole answer.
inline constexpr std::uint64_t kMaxStepsOfToken = 100'000'000;
inline constexpr std::uint64_t kMaxStepsOfAnswer = 1'000'000'000;

}  // namespace steadytext::core::constraint
