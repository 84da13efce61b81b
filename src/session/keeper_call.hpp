// This session's database in shared memory: its row, and how its keeper is told that there is work.
//
// Called by src/session and src/functions. Regime: pg.
#pragma once

#include "src/pg/compat.hpp"
#include "shmem/segment.hpp"
#include "src/core/clock.hpp"

namespace steadytext::session {

// This database's row. Null if other databases have all rows; then it looks again once a second.
inline shmem::DatabaseRow *my_database() {
    constexpr std::int64_t kLookAgainUs = 1'000'000;
    static shmem::DatabaseRow *row = nullptr;
    static std::int64_t refused_us = 0;
    if (row != nullptr && row->oid.load(std::memory_order_relaxed) == MyDatabaseId)
        return row;
    row = nullptr;
    const std::int64_t now_us = core::monotonic_us();
    if (refused_us != 0 && now_us - refused_us < kLookAgainUs)
        return nullptr;
    shmem::DatabaseTable &databases = *shmem::segment().databases;
    const std::uint32_t index = databases.of(MyDatabaseId);
    if (index != shmem::DatabaseTable::kNone)
        return row = &databases[index];
    refused_us = now_us;
    return nullptr;
}

// From now on the keeper keeps steadytext_daemon_health of this database.
inline void want_health() {
    if (shmem::DatabaseRow *row = my_database(); row != nullptr && !row->health_wanted.load(std::memory_order_relaxed))
        row->health_wanted.store(true, std::memory_order_relaxed);
}

// Wakes the keeper, or the launcher, which starts a keeper.
inline void wake_keeper(const shmem::DatabaseRow &row) {
    const std::int32_t keeper = row.keeper_proc_number.load();
    pg::set_latch_of(keeper >= 0 ? keeper : shmem::segment().header->launcher.proc_number.load());
}

}  // namespace steadytext::session
