// The databases that need a queue worker. Called by the launcher, which starts queue workers in turn (places.hpp).
// Regime: pg.
//
// A session that queues a job notes this in its database's row (shmem/database_table.hpp). A crash or restart clears
// shared memory, but not the table. So after each start, after a promotion, and when a row becomes free that a database
// had asked for in vain, a worker looks into every database once, one after another, and leaves at once if there is
// nothing.
#pragma once

#include "bgworker/places.hpp"
#include "src/pg/postgres.hpp"
#include "shmem/segment.hpp"

namespace steadytext::worker {

// Adds the missing queue workers; lowers `again_us` to the next time to look (CLOCK_MONOTONIC).
void want_queue_workers(const shmem::Segment &segment, std::span<DatabaseStarts> starts, WantedWorkers &wanted,
                        std::int64_t now_us, std::int64_t &again_us);
// Call after WantedWorkers::begin().
void note_visit();

}  // namespace steadytext::worker
