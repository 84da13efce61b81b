// steadytextd --check FILE: what a model is, whether its template works, what of it is invariant, how fast it is on this
// processor, and which quantisation would be faster.
//
// Called by main.cpp instead of serving. Regime: pure.
#pragma once

#include "daemon/options.hpp"
#include "src/core/problem.hpp"

namespace steadytext::daemon {

// Writes to standard output. False if the model cannot be used.
[[nodiscard]] bool report_model(const Options &options, core::Problem &problem);

}  // namespace steadytext::daemon
