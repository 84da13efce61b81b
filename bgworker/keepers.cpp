// Starting keepers as dynamic background workers: see keepers.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "bgworker/keepers.hpp"
#include "bgworker/keeper_incidents.hpp"
#include "bgworker/keeper_usage.hpp"
#include "bgworker/workers.hpp"
#include "src/guc.hpp"

extern "C" {
#include "access/xlog.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
}

#include <algorithm>

namespace steadytext::worker {

namespace {

constexpr std::int64_t kFirstPauseUs = 100'000;
constexpr std::int64_t kLongestPauseUs = 30'000'000;
constexpr std::int64_t kSteadyUs = 5'000'000;     // having run this long, it did not fail at starting
constexpr std::int64_t kHealthUs = 1'000'000;     // between writings of steadytext_daemon_health when a daemon's state changes
constexpr std::int64_t kTrafficUs = 60'000'000;   // and when only its counts do; none while nothing is asked
constexpr std::int64_t kPatienceUs = 10'000'000;  // a keeper started so long ago that never came is lost

// What the launcher knows of the keeper of each row. Only the launcher's process uses it.
struct Start {
    std::int64_t started_us = 0;
    std::int64_t not_before_us = 0;
    std::int64_t pause_us = 0;
    bool under_way = false;  // asked for, not yet seen
};
Start starts[shmem::DatabaseTable::kRows];

bool ask_postmaster(std::uint32_t row, std::uint32_t database) {
    BackgroundWorkerHandle *handle = start_worker("keeper", "steadytext_keeper_main", database, UInt32GetDatum(row));
    if (handle != nullptr)
        pfree(handle);
    return handle != nullptr;
}

// Whether a start is worth while now; keeps the pauses between starts that came to nothing.
bool may_start(Start &start, std::int64_t now_us) {
    if (start.under_way && now_us - start.started_us < std::max(start.pause_us, kFirstPauseUs))
        return false;
    if (start.under_way) {  // it came and went, or did not come
        start.under_way = false;
        const bool was_steady = now_us - start.started_us >= kSteadyUs && now_us - start.started_us < kPatienceUs;
        start.pause_us = was_steady || start.pause_us == 0 ? kFirstPauseUs : std::min(start.pause_us * 2, kLongestPauseUs);
        start.not_before_us = now_us + start.pause_us;
    }
    return now_us >= start.not_before_us;
}

}  // namespace

bool health_is_due(const shmem::DatabaseRow &row, std::int64_t now_us, std::int64_t &due_us) {
    const shmem::DaemonTable::Outlook outlook = shmem::segment().daemons->outlook();
    const std::int64_t wrote_us = row.health_us.load();
    std::int64_t next_us = INT64_MAX;
    if (wrote_us == 0)
        return true;
    if (outlook.standing != row.health_standing.load())
        next_us = wrote_us + kHealthUs;
    else if (outlook.traffic != row.health_traffic.load())
        next_us = wrote_us + kTrafficUs;
    due_us = std::min(due_us, std::max(next_us, now_us));
    return next_us <= now_us;
}

std::int64_t refresh_interval_us() {
    return std::int64_t{guc::frecency_refresh_interval_s} * 1'000'000 * shmem::segment().header->refresh_stretch.load();
}

bool has_work(const shmem::DatabaseRow &row, std::int64_t now_us, std::int64_t &due_us) {
    if (row.pending_writes.load() > 0 || row.pending_audit.load() > 0 ||
        row.refreshes_wanted.load() > row.refreshes_done.load() || health_is_due(row, now_us, due_us))
        return true;
    if (usage_is_due(row, now_us) || has_incidents(row))
        return true;
    if (const std::int64_t since_us = row.usage_since_us.load(); since_us != 0)
        due_us = std::min(due_us, since_us + kUsageUs);
    if (row.hits() == row.hits_refreshed.load())
        return false;
    const std::int64_t refresh_us = row.refreshed_us.load() + refresh_interval_us();
    if (refresh_us <= now_us)
        return true;
    due_us = std::min(due_us, refresh_us);
    return false;
}

std::int64_t start_keepers(const shmem::Segment &segment, std::int64_t now_us) {
    std::int64_t again_us = now_us + 10'000'000;
    if (RecoveryInProgress())
        return again_us;
    for (std::uint32_t i = 0; i < shmem::DatabaseTable::kRows; i++) {
        shmem::DatabaseRow &row = segment.databases->rows[i];
        Start &start = starts[i];
        if (row.oid.load() == 0)
            break;
        if (row.keeper_pid.load() != 0) {
            if (row.keeper_failures.load() == 0) {
                start.under_way = false;
                start.pause_us = 0;
            }
            continue;
        }
        if (!has_work(row, now_us, again_us))
            continue;
        if (may_start(start, now_us)) {
            start.started_us = now_us;
            start.under_way = ask_postmaster(i, row.oid.load());
            if (!start.under_way) {
                start.not_before_us = now_us + kSteadyUs;
                ereport(LOG, (errmsg("no background worker is free for the pg_steadytext keeper of database %u", row.oid.load()),
                              errhint("Raise max_worker_processes.")));
            }
        }
        again_us = std::min(again_us, std::max(start.not_before_us, now_us + kFirstPauseUs));
    }
    return again_us;
}

}  // namespace steadytext::worker
