// The cost of a call, for the planner: the time that daemons take for it, over the calls that they work on at once.
//
// Called by condition_order.cpp; call_cost.cpp has the support function of the SQL functions that make calls, which PostgreSQL's
// planner asks. Regime: pg.
#pragma once

#include "src/pg/postgres.hpp"
#include "shmem/call_stats.hpp"

namespace steadytext::planner {

// The median time of daemons for a call of the kind, in microseconds, as of a second ago; negative: not known.
[[nodiscard]] double usual_us(shmem::CallKind kind);

// The requests on which the daemons work at once.
[[nodiscard]] double at_once(bool embeds);

}  // namespace steadytext::planner
