// Counts answers by question, for the planner: a question is a function with what is constant in its arguments, as a statement has them
// (`steadytext_if('about the music', body)`), asked by a role in a database.
//
// A role learns of its own answers only: the question's key has the role, or where roles share a cache (steadytext.cache_scope) the
// database alone. Kept in shared memory (shmem/answer_counts.hpp), until steadytext_stat_reset() or the server's end.
//
// note_answer() is called by the functions, seen_answers() by src/planner. Regime: pg.
#pragma once

#include "shmem/answer_counts.hpp"
#include "src/session/ahead.hpp"

extern "C" {
#include "nodes/primnodes.h"
}

namespace steadytext::session {

// The function has been given this answer, and is to return it. Does nothing where steadytext.track_calls is off.
void note_answer(const ahead::Function &function, FunctionCallInfo fcinfo, std::string_view answer);

// What has been answered to the question of the call so far; nothing if its arguments are not known yet.
[[nodiscard]] shmem::AnswerCounts::Seen seen_answers(const ahead::Function &function, const FuncExpr &call);

}  // namespace steadytext::session
