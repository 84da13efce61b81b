// The background workers of pg_steadytext and their registration.
//
// Called by _PG_init, and by the launcher and queue workers for workers of a database. Regime: pg.
#pragma once

#include "src/pg/compat.hpp"
#include "bgworker/start_limiter.hpp"

struct BackgroundWorkerHandle;

namespace steadytext::worker {

void register_workers();

// Has the postmaster start a worker "pg_steadytext KIND" of a database, once. Null if no worker is free; the caller
// must free the handle, which is in CurrentMemoryContext.
[[nodiscard]] BackgroundWorkerHandle *start_worker(const char *kind, const char *function, const WorkerOrder &order);
// The order that this worker got.
[[nodiscard]] WorkerOrder my_order();

}  // namespace steadytext::worker
