// A model's file before llama.cpp sees it: checks that it is a model, and computes its fingerprint.
//
// check_model_file is called by main.cpp, so that a bad path fails before anything is bound; fingerprint_of by the
// engines while they load, and with digest_of by model_shelf.cpp, for models that are not loaded. Regime: pure.
#pragma once

#include <atomic>
#include <optional>
#include <string>

#include "daemon/messages.hpp"
#include "src/core/problem.hpp"

namespace steadytext::daemon {

// A model to load, and what is known of it from before, as it did not change since.
struct ModelFile {
    std::string path;
    std::string name;                           // what requests and answers call it
    std::string fingerprint = {};               // empty: not known
    std::optional<Invariance> invariance = {};  // of a model that generates
};

[[nodiscard]] bool check_model_file(const std::string &path, core::Problem &problem);

// The file's name without folder and `.gguf`.
[[nodiscard]] std::string model_name_of(const std::string &path);

// Hex SHA-256 of the file. `stopping` ends it early; then it fails.
[[nodiscard]] bool digest_of(const std::string &path, const std::atomic<bool> &stopping, std::string &weights,
                             core::Problem &problem);

// Hex SHA-256 over the weights, this build of the engine and `settings`, which names everything else that can
// change an answer. Equal fingerprints: equal answers.
[[nodiscard]] std::string fingerprint_of(const std::string &weights, const std::string &settings);
[[nodiscard]] bool fingerprint_of(const ModelFile &file, const std::string &settings, const std::atomic<bool> &stopping,
                                  std::string &fingerprint, core::Problem &problem);

}  // namespace steadytext::daemon
