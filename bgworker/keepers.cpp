// Finds work for keepers: see keepers.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "bgworker/keepers.hpp"
#include "bgworker/databases.hpp"
#include "bgworker/hub_batch.hpp"
#include "bgworker/keeper_incidents.hpp"
#include "bgworker/keeper_usage.hpp"
#include "shmem/hub_links.hpp"
#include "src/guc.hpp"

extern "C" {
#include "access/xlog.h"
#include "miscadmin.h"
}

#include <algorithm>

namespace steadytext::worker {

namespace {

// Between updates of steadytext_daemon_health when a daemon's state changes
constexpr std::int64_t kHealthUs = 1'000'000;
constexpr std::int64_t kTrafficUs = 60'000'000;  // and when only its counts change; without requests there are none
constexpr std::int64_t kLookUs = 10'000'000;

}  // namespace

bool audit_gap_is_due(const shmem::DatabaseRow &row, std::int64_t now_us, std::int64_t &due_us) {
    constexpr std::int64_t kGatherUs = 5'000'000;
    const std::int64_t since_us = row.audit_missing_since_us.load();
    if (since_us == 0)
        return false;
    due_us = std::min(due_us, std::max(since_us + kGatherUs, now_us));
    return since_us + kGatherUs <= now_us;
}

bool health_is_due(const shmem::DatabaseRow &row, std::int64_t now_us, std::int64_t &due_us) {
    const shmem::DaemonTable::Outlook outlook = shmem::segment().daemons->outlook();
    const std::int64_t wrote_us = row.health_us.load();
    std::int64_t next_us = INT64_MAX;
    if (!row.health_wanted.load())
        return false;
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
        row.refreshes_wanted.load() > row.refreshes_done.load() || health_is_due(row, now_us, due_us) ||
        audit_gap_is_due(row, now_us, due_us))
        return true;
    if (usage_is_due(row, now_us) || has_incidents(row) || has_wishes(row))
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

bool has_wishes(const shmem::DatabaseRow &row) {
    const auto index = static_cast<std::uint32_t>(&row - shmem::segment().databases->begin());
    const shmem::HubLink *link = shmem::hub_links().find(index, row.oid.load());
    return link != nullptr && link->wishes.load() != link->wishes_done.load();
}

void want_node_workers(const shmem::Segment &segment, std::span<DatabaseStarts> starts, WantedWorkers &wanted,
                       std::int64_t now_us, std::int64_t &again_us) {
    if (!guc::keeper || !guc::has_hub() || RecoveryInProgress())
        return;
    for (std::uint32_t i = 0; i < segment.databases->size(); i++) {
        const Oid database = (*segment.databases)[i].oid.load();
        const shmem::HubLink *link = database == 0 ? nullptr : shmem::hub_links().find(i, database);
        if (database == 0 || (link != nullptr && link->pid.load() != 0))
            continue;
        if (const std::int64_t self_us = link == nullptr ? 0 : link->is_self_until_us.load(); self_us > now_us) {
            again_us = std::min(again_us, self_us);
            continue;
        }
        if (!can_join(segment, database, now_us))
            continue;
        starts[i].belong_to(database);
        (void)wanted.add(starts[i].node_worker, "node worker", "steadytext_node_main", database, again_us);
    }
}

void want_keepers(const shmem::Segment &segment, std::span<DatabaseStarts> starts, WantedWorkers &wanted,
                  std::int64_t now_us, std::int64_t &again_us) {
    again_us = std::min(again_us, now_us + kLookUs);
    const bool is_standby = RecoveryInProgress();
    if (!guc::keeper || (is_standby && !guc::has_hub()))
        return;
    for (std::uint32_t i = 0; i < segment.databases->size(); i++) {
        const shmem::DatabaseRow &row = (*segment.databases)[i];
        const Oid database = row.oid.load();
        if (database == 0 || row.keeper_pid.load() != 0 ||
            !(is_standby ? has_news(row, now_us, again_us) : has_work(row, now_us, again_us)) ||
            !can_join(segment, database, now_us))
            continue;
        starts[i].belong_to(database);
        if (is_standby)
            (void)wanted.add(starts[i].keeper, "hub worker", "steadytext_hub_main", database, again_us);
        else
            (void)wanted.add(starts[i].keeper, "keeper", "steadytext_keeper_main", database, again_us);
    }
}

}  // namespace steadytext::worker
