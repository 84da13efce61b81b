// This process's copy of the models that daemons serve, so that a call can name the fingerprint in its key.
//
// Called by src/session. Regime: pg. One atomic load when nothing changed.
#pragma once

#include "shmem/segment.hpp"
#include "src/core/rules.hpp"

#include <string_view>

namespace steadytext::session {

// The model a call will get: the one it names, or the role's default. Null if no daemon was ever seen.
[[nodiscard]] const shmem::Model *find_model(shmem::ModelRole role, std::string_view name);

// Raises unless the model is one by its name, and unsafe_mode allows it; raises 22023 if it is "provider:model" and no entry of steadytext.daemons is that provider's: it must never be
// answered by another model. A model that a daemon serves under that whole name (Ollama's have colons) is just a model.
void check_model(shmem::ModelRole role, const core::TextArgument &model, bool unsafe_mode);

}  // namespace steadytext::session
