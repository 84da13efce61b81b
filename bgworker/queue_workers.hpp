// Which databases need a queue worker. Called by the launcher, which begins them in turn (places.hpp). Regime: pg.
//
// A session that queues a job says so in its database's row (shmem/database_table.hpp). Shared memory forgets with a crash or
// restart, the table does not: so after each start, after a promotion, and when a row became free
// that a database had asked for in vain, a worker looks into every database once, one after
// the other, and leaves at once where there is nothing.
#pragma once

#include "bgworker/places.hpp"
#include "src/pg/postgres.hpp"
#include "shmem/segment.hpp"

namespace steadytext::worker {

// Adds the queue workers that are missing; `again_us` is lowered to when to look again (CLOCK_MONOTONIC).
void want_queue_workers(const shmem::Segment &segment, std::span<DatabaseStarts> starts, WantedWorkers &wanted, std::int64_t now_us,
                        std::int64_t &again_us);
// After WantedWorkers::begin().
void note_visit();

}  // namespace steadytext::worker
