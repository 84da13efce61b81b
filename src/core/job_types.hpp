// The types of asynchronous calls, and the rules for their parameters: the arguments of the function that the type
// stands for.
//
// Called by src/functions/job_check.cpp, src/functions/queue.cpp, src/queue/job_row.cpp and src/core/parameters.cpp.
// Regime: pure, noexcept.
#pragma once

#include "src/core/rules.hpp"

namespace steadytext::core {

// The most parts of a batch.
inline constexpr int kMaxParts = 100'000;

inline constexpr const char *kJobTypeNames =
    "generate generate_json generate_regex generate_choice batch_generate embed batch_embed rerank batch_rerank";

// The function's arguments; parameters that a call of this type must have are among them. Empty if there is no such
// type.
[[nodiscard]] std::span<const Parameter> job_arguments(std::string_view type) noexcept;

// Null if a call of this type has no such parameter. A batch also has the parameters of its parts, except their text.
[[nodiscard]] const Parameter *find_job_argument(std::string_view type, std::string_view name) noexcept;

}  // namespace steadytext::core
