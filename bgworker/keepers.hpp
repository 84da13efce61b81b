// The databases that need a keeper, or on a standby with a hub a hub worker in its place. Called by the launcher, which starts keepers in turn (places.hpp). Regime: pg.
//
// Compares the pending work (shmem/database_table.hpp) with the running keepers: a keeper that dies is started again
// after a pause that doubles (start_limiter.hpp), and a lost keeper is noticed without an event.
#pragma once

#include "bgworker/places.hpp"
#include "src/pg/postgres.hpp"
#include "shmem/segment.hpp"

#include <span>

namespace steadytext::worker {

// Adds the missing keepers; lowers `again_us` to the next time to look (CLOCK_MONOTONIC).
void want_keepers(const shmem::Segment &segment, std::span<DatabaseStarts> starts, WantedWorkers &wanted,
                  std::int64_t now_us, std::int64_t &again_us);

// On a server that is no standby and has a hub: the databases in use without a node worker.
void want_node_workers(const shmem::Segment &segment, std::span<DatabaseStarts> starts, WantedWorkers &wanted,
                       std::int64_t now_us, std::int64_t &again_us);

// Nodes of this hub wish something to be cleared.
[[nodiscard]] bool has_wishes(const shmem::DatabaseRow &row);

// Whether steadytext_daemon_health is due now; if not, lowers `due_us` to when it will be.
[[nodiscard]] bool health_is_due(const shmem::DatabaseRow &row, std::int64_t now_us, std::int64_t &due_us);

// Whether it is time to write into the audit log how many rows it misses; if not, lowers `due_us` to that time.
[[nodiscard]] bool audit_gap_is_due(const shmem::DatabaseRow &row, std::int64_t now_us, std::int64_t &due_us);

// steadytext.frecency_refresh_interval, stretched during some incidents.
[[nodiscard]] std::int64_t refresh_interval_us();

// Whether a keeper would have work now; if not, lowers `due_us` to when it would.
[[nodiscard]] bool has_work(const shmem::DatabaseRow &row, std::int64_t now_us, std::int64_t &due_us);

}  // namespace steadytext::worker
