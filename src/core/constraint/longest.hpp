// The length of the longest text of a network: a bound of what an answer of this form can cost.
//
// Called by src/session/answer_form.cpp. Regime: pure (may throw std::bad_alloc).
#pragma once

#include "src/core/constraint/network.hpp"

namespace steadytext::core::constraint {

// Of a finished network, in bytes; kNever if there is no longest text, or none was found within `work`.
[[nodiscard]] std::uint32_t longest_text(const Network &network, Work &work);

}  // namespace steadytext::core::constraint
