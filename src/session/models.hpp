// Which model a call gets, so that its key can name the fingerprint; and what becomes of a name that no daemon knows (steadytext.unknown_model).
//
// Called by src/session. Regime: pg. The models are looked up where they are, in shared memory (shmem/model_table.hpp).
#pragma once

#include "shmem/segment.hpp"
#include "src/core/rules.hpp"

#include <string_view>

namespace steadytext::session {

// The role's default; false if no daemon was ever seen.
[[nodiscard]] bool find_default_model(shmem::ModelRole role, shmem::Model &model);

// Raises unless the model is one by its name, and unsafe_mode allows it; raises 22023 if it is "provider:model" and no entry of steadytext.daemons is that provider's: it must never be
// answered by another model. A model that a daemon serves under that whole name (Ollama's have colons) is just a model.
void check_model(shmem::ModelRole role, const core::TextArgument &model, bool unsafe_mode);

// Who is meant to answer a call.
struct ChosenModel {
    bool is_known = false;    // `model` says what the answer will be of; else nobody here can tell, and it is no answer for the cache
    bool is_gone = false;     // it was known once: what the cache has of it is its answer, but nobody serves it any more
    shmem::Model model;
    std::string_view asked;   // what the daemons are asked for, and may be found by; empty: the daemon's default
};

// What a call gets that names this model, or none. One that no daemon serves, nor can serve, is what steadytext.unknown_model says: it raises, or
// the default is chosen instead, with a WARNING once a statement.
[[nodiscard]] ChosenModel choose_model(shmem::ModelRole role, std::string_view name);

// Before a daemon is asked: another model, or an error, for one that is gone.
void replace_if_gone(shmem::ModelRole role, ChosenModel &chosen, std::string_view name);

}  // namespace steadytext::session
