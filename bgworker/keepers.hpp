// Which databases need a keeper. Called by the launcher, which begins them in turn (places.hpp). Regime: pg.
//
// Reconciles what there is to do (shmem/database_table.hpp) with who runs: a keeper that dies is started again after a pause
// that doubles (start_limiter.hpp), one that is lost needs no event to be noticed.
#pragma once

#include "bgworker/places.hpp"
#include "src/pg/postgres.hpp"
#include "shmem/segment.hpp"

#include <span>

namespace steadytext::worker {

// Adds the keepers that are missing; `again_us` is lowered to when to look again (CLOCK_MONOTONIC).
void want_keepers(const shmem::Segment &segment, std::span<DatabaseStarts> starts, WantedWorkers &wanted, std::int64_t now_us, std::int64_t &again_us);

// Whether steadytext_daemon_health is to be written now; if not, `due_us` is lowered to when it would be.
[[nodiscard]] bool health_is_due(const shmem::DatabaseRow &row, std::int64_t now_us, std::int64_t &due_us);

// Whether the audit log is to be told now what rows it misses; if not, `due_us` is lowered to when it would be.
[[nodiscard]] bool audit_gap_is_due(const shmem::DatabaseRow &row, std::int64_t now_us, std::int64_t &due_us);

// steadytext.frecency_refresh_interval, or longer while an incident makes it so.
[[nodiscard]] std::int64_t refresh_interval_us();

// Whether a keeper would find something to do now; if not, `due_us` is lowered to when it would.
[[nodiscard]] bool has_work(const shmem::DatabaseRow &row, std::int64_t now_us, std::int64_t &due_us);

}  // namespace steadytext::worker
