// How far a long call of this session is: the view steadytext_progress and, once it has taken a second, pg_stat_activity.
//
// Called by src/session. Regime: pg, but nothing here raises. Whoever begins ends, also after an error.
#pragma once

#include "shmem/call_stats.hpp"

namespace steadytext::session::progress {

void begin(shmem::CallKind kind, std::int64_t total);
// One more is done.
void step(bool cached, bool failed);
void end();

}  // namespace steadytext::session::progress
