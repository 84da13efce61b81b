// The types of asynchronous calls, and what their parameters must be: the arguments of the function that a call of the type stands for.
//
// Called by src/functions/job_check.cpp and src/core/parameters.cpp. Regime: pure, noexcept.
#pragma once

#include "src/core/rules.hpp"

namespace steadytext::core {

// Parts that one batch may have.
inline constexpr int kMostParts = 100'000;

inline constexpr const char *kJobTypeNames =
    "generate generate_json generate_regex generate_choice batch_generate embed batch_embed rerank batch_rerank";

// Those that a call of this type cannot do without are among them. Empty if there is no such type.
[[nodiscard]] std::span<const Parameter> job_arguments(std::string_view type) noexcept;

// Null if a call of this type has no such parameter. A batch has those of its parts too, but for their text.
[[nodiscard]] const Parameter *find_job_argument(std::string_view type, std::string_view name) noexcept;

}  // namespace steadytext::core
