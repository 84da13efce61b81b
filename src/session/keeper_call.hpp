// The keeper of this session's database: its row, and how it is told that there is work.
//
// Called by src/session. Regime: pg.
#pragma once

#include "src/pg/compat.hpp"
#include "shmem/segment.hpp"

namespace steadytext::session {

// This database's row; kNone if all rows belong to others.
inline std::uint32_t my_database() {
    static std::uint32_t row = shmem::DatabaseTable::kNone;
    if (row == shmem::DatabaseTable::kNone)
        row = shmem::segment().databases->of(MyDatabaseId);
    return row;
}

// Wakes the keeper, or the launcher, which starts one.
inline void wake_keeper(const shmem::DatabaseRow &row) {
    const std::int32_t keeper = row.keeper_proc_number.load();
    pg::set_latch_of(keeper >= 0 ? keeper : shmem::segment().header->launcher.proc_number.load());
}

}  // namespace steadytext::session
