// How far a long call of this session is: the view steadytext_progress and, once it has taken a second,
// pg_stat_activity.
//
// Called by src/session. Regime: pg, but nothing here raises. A caller of begin() also calls end(), after an error too.
#pragma once

#include "shmem/call_stats.hpp"

namespace steadytext::session::progress {

void begin(shmem::CallKind kind, std::int64_t total);
// Another element is done.
void step(bool cached, bool failed);
void end();

}  // namespace steadytext::session::progress
