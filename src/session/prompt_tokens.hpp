// How many tokens a prompt probably has, before they are counted: by its bytes, and by what daemons have told of the role's earlier prompts of
// the kind for the model.
//
// Called by generation.cpp and embedding.cpp. Regime: pg.
#pragma once

#include "shmem/call_stats.hpp"

#include <cstdint>
#include <string_view>

namespace steadytext::session {

[[nodiscard]] std::int64_t prompt_tokens(shmem::CallKind kind, std::string_view model, std::string_view prompt);
// A daemon told how many tokens it has; negative: it did not.
void note_prompt_tokens(shmem::CallKind kind, std::string_view model, std::string_view prompt, std::int64_t told);

}  // namespace steadytext::session
