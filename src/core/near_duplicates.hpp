// Which of several vectors, or texts, say nothing new: each is compared with those before it that stay.
//
// Called by src/functions/facts.cpp. Regime: pure (may throw std::bad_alloc). Useless once `work` has ended.
#pragma once

#include "src/core/work.hpp"

#include <span>
#include <string_view>
#include <vector>

namespace steadytext::core {

// `stays[i]` is false if the cosine of the unit vector i and one before it that stays is above the threshold. All
// vectors have as many numbers; one without numbers stays.
[[nodiscard]] std::vector<bool> that_differ(std::span<const std::span<const float>> vectors, double threshold,
                                            Work &work);

// `stays[i]` is false if a text before it is the same but for white space around it and the case of ASCII letters.
[[nodiscard]] std::vector<bool> that_differ(std::span<const std::string_view> texts);

}  // namespace steadytext::core
