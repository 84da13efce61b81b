// The background workers of pg_steadytext and how they are registered.
//
// Called by _PG_init. Regime: pg.
#pragma once

namespace steadytext::worker {

void register_workers();

}  // namespace steadytext::worker
