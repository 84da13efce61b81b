// Which databases need a queue worker, and starting them. Called by the launcher. Regime: pg.
//
// A session that queues a job says so in its database's row (shmem/database_table.hpp). Shared memory forgets with a crash or
// restart, the table does not: so after each start, and after a promotion, a worker looks into every database once, one after
// the other, and leaves at once where there is nothing.
#pragma once

#include "src/pg/postgres.hpp"
#include "shmem/segment.hpp"

namespace steadytext::worker {

// Starts the queue workers that are missing; returns when to look again (CLOCK_MONOTONIC).
[[nodiscard]] std::int64_t start_queue_workers(const shmem::Segment &segment, std::int64_t now_us);

}  // namespace steadytext::worker
