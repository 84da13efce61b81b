// This process's copy of the models that daemons serve, so that a call can name the fingerprint in its key.
//
// Called by src/functions. Regime: pg (noexcept in fact). One atomic load when nothing changed.
#pragma once

#include "shmem/segment.hpp"

#include <string_view>

namespace steadytext::session {

// The model a call will get: the one it names, or the role's default. Null if no daemon was ever seen.
[[nodiscard]] const shmem::Model *find_model(shmem::ModelRole role, std::string_view name);

}  // namespace steadytext::session
