// How many tokens a prompt probably has, before they are counted: by its bytes, and by what daemons have told of the role's earlier prompts of
// the kind for the model. And what is believed of the counts that daemons tell.
//
// Called by the calls that read answers. Regime: pg.
#pragma once

#include "shmem/call_stats.hpp"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace steadytext::session {

[[nodiscard]] std::int64_t prompt_tokens(shmem::CallKind kind, std::string_view model, std::string_view prompt);
// A daemon told how many tokens it has; negative: it did not.
void note_prompt_tokens(shmem::CallKind kind, std::string_view model, std::string_view prompt, std::int64_t told);

// What a daemon told, of a prompt of so many bytes, and of an answer of a call with such max_tokens; or -1, as if nothing
// had been told, if that cannot be. Budgets and limits charge it: without a bound one lie would use up a role's month.
// `daemon`: its row. Of an engine the gateway has looked already (src/core/openai_reply.cpp): only its entry tells what it
// may reason.
[[nodiscard]] int believed_prompt_tokens(int told, std::size_t bytes);
[[nodiscard]] int believed_answer_tokens(int told, std::int64_t max_tokens, std::uint16_t daemon);

}  // namespace steadytext::session
