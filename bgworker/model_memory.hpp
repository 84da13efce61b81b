// Remembers, across restarts, which models were served and under which fingerprints.
//
// Called by the gateway. Regime: pure. Cached answers are found by fingerprint, so it must be known while every daemon is down.
#pragma once

#include "shmem/daemon_table.hpp"

namespace steadytext::gateway {

// Reads what was remembered; an absent or damaged file is an empty list.
void recall_models(const char *path, shmem::ModelList &list);

// Replaces the file at once or not at all; false if it could not be written.
[[nodiscard]] bool remember_models(const char *path, const shmem::ModelList &list);

}  // namespace steadytext::gateway
