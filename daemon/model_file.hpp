// A model's file before llama.cpp sees it: checks that it is a model, and computes its fingerprint.
//
// check_model_file is called by main.cpp, so that a bad path fails before anything is bound; fingerprint_of by the
// engines while they load. Regime: pure.
#pragma once

#include <string>

#include "src/core/problem.hpp"

namespace steadytext::daemon {

[[nodiscard]] bool check_model_file(const std::string &path, core::Problem &problem);

// The file's name without folder and `.gguf`.
[[nodiscard]] std::string model_name_of(const std::string &path);

// Hex SHA-256 over the weights, this build of the engine and `settings`, which names everything else that can
// change an answer. Equal fingerprints: equal answers.
[[nodiscard]] bool fingerprint_of(const std::string &path, const std::string &settings, std::string &fingerprint,
                                  core::Problem &problem);

}  // namespace steadytext::daemon
