// Tries whether a model can be loaded and computes, in a process of its own: what is damaged may end llama.cpp by an
// assertion or a signal, and then ends that process instead of everybody's calls.
//
// model_works() is called by model_shelf.cpp, once for each file of a directory before it is loaded for the first time,
// on a thread beside the server's; try_model() by main.cpp, in that process. Regime: pure.
#pragma once

#include <atomic>
#include <string>

#include "src/core/problem.hpp"

namespace steadytext::daemon {

// False, with the reason as the problem's message. `stopping` ends it early.
[[nodiscard]] bool model_works(const std::string &path, const std::atomic<bool> &stopping, core::Problem &problem);

// What `steadytextd --try FILE` does: loads the model, and computes a few tokens.
[[nodiscard]] bool try_model(const std::string &path, core::Problem &problem);

}  // namespace steadytext::daemon
