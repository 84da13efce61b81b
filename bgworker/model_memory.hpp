// Remembers, across restarts, the served models and their fingerprints.
//
// Called by the gateway. Regime: pure. Cached answers are found by fingerprint, so it must be known while every daemon
// is down.
#pragma once

#include "shmem/model_table.hpp"

#include <vector>

namespace steadytext::gateway {

// Reads the remembered models; an absent or damaged file gives an empty list.
[[nodiscard]] std::vector<shmem::Model> recall_models(const char *path);

// Replaces the file at once or not at all; false if it could not be written.
[[nodiscard]] bool remember_models(const char *path, const std::vector<shmem::Model> &models);

}  // namespace steadytext::gateway
