// How large a schema, regex or list of choices may be, and what it may cost: docs/structured.md tells of each.
//
// Used by src/core/constraint, by the validator table (src/core/parameters.*) and by daemon/constrained_text.*. Regime: pure.
#pragma once

#include <cstddef>
#include <cstdint>

namespace steadytext::core::constraint {

inline constexpr std::size_t kMostSchemaBytes = 65'536;
inline constexpr std::size_t kMostSchemaDepth = 200;  // arrays and objects within each other
inline constexpr std::size_t kMostPatternBytes = 4'096;  // wherever the pattern stands
inline constexpr std::size_t kMostChoiceBytes = 4'096;   // of one choice
inline constexpr std::size_t kMostChoices = 1'000;

// Steps of core::Work. What compiling may cost, and checking an answer: some tenths of a second each.
inline constexpr std::uint64_t kMostCompilingSteps = 20'000'000;
inline constexpr std::uint64_t kMostCheckingSteps = 30'000'000;

// What an engine spends on finding out which tokens may follow: for one token, and for a whole answer. Some tenths of a second, some seconds.
inline constexpr std::uint64_t kMostStepsOfToken = 100'000'000;
inline constexpr std::uint64_t kMostStepsOfAnswer = 1'000'000'000;

}  // namespace steadytext::core::constraint
