// Chooses the model of a call, so that the call's key can name the fingerprint, and handles a name that no daemon knows
// (steadytext.unknown_model).
//
// Called by src/session and src/functions/job_check.cpp. Regime: pg. The models are looked up in place, in shared
// memory (shmem/model_table.hpp).
#pragma once

#include "shmem/segment.hpp"
#include "src/core/rules.hpp"

#include <string_view>

namespace steadytext::session {

// The role's default; false if no daemon was ever seen.
[[nodiscard]] bool find_default_model(shmem::ModelRole role, shmem::Model &model);

// The role that has a model of this name: generation, unless only an embedding model has it.
[[nodiscard]] shmem::ModelRole role_of(std::string_view name);

// The embedding model by which documents are ranked where there is no reranker; false if there is none.
[[nodiscard]] bool find_ranking_embedder(shmem::Model &model);

// Raises unless the name is a model's and unsafe_mode allows it. Raises 22023 if the name is "provider:model" and no
// entry of steadytext.daemons has that provider: another model must never answer such a call. A model that a daemon
// serves under that whole name (Ollama's names have colons) is an ordinary model.
void check_model(shmem::ModelRole role, const core::TextArgument &model, bool unsafe_mode);

// The model that is to answer a call.
struct ChosenModel {
    // `model` is the model that will answer; else nobody here can tell, and the cache does not take the answer
    bool is_known = false;
    bool is_gone = false;  // it was known once: its cached answers count, but no daemon serves it any more
    shmem::Model model;
    std::string_view asked;  // the name that daemons are asked for, and may be found by; empty: the daemon's default
};

// Chooses the model for a call with this name, or without a name. If no daemon serves or can serve that model,
// steadytext.unknown_model decides: it raises, or it chooses the default instead, with a WARNING once a statement.
[[nodiscard]] ChosenModel choose_model(shmem::ModelRole role, std::string_view name);

// Called before a daemon is asked. If the model is gone, chooses the default model, or raises. What is chosen is not
// gone.
void replace_if_gone(shmem::ModelRole role, ChosenModel &chosen, std::string_view name);

}  // namespace steadytext::session
