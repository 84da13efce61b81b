// The background workers of pg_steadytext and how they are registered.
//
// Called by _PG_init; by the launcher for those of one database. Regime: pg.
#pragma once

#include "src/pg/compat.hpp"
#include "bgworker/start_limiter.hpp"

struct BackgroundWorkerHandle;

namespace steadytext::worker {

void register_workers();

// Has the postmaster start a worker "pg_steadytext KIND" of a database, once. Null if no worker is free; the handle, in
// CurrentMemoryContext, is the caller's to free.
[[nodiscard]] BackgroundWorkerHandle *start_worker(const char *kind, const char *function, const WorkerOrder &order);
// What the worker that asks was told.
[[nodiscard]] WorkerOrder my_order();

}  // namespace steadytext::worker
