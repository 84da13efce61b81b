// The keeper: writes a database's cached answers, audit rows, incidents and usage, folds in hits, evicts rows beyond
// the limits, deletes rows that are too old, keeps steadytext_daemon_health true, and leaves when idle.
//
// Started by the launcher (bgworker/keepers.cpp) when its database has work, as a dynamic background worker. Regime:
// pg. Each step is a transaction. If a step fails, this is reported, its records are given back, and the keeper leaves.
// The next keeper comes after a growing pause (start_limiter.hpp), so a failure never keeps a place. It takes records
// one by one, so a record that cannot be written does not delay the others. A record is given up if its own content is
// the cause: an audit row at once, an answer after three attempts. If a table is locked, or a disk is full, records
// wait as long as this lasts. While others wait for a place, the keeper leaves after its turn (places.hpp).
//
// The database's only keeper holds the keeper_pid of its row. DROP DATABASE waits five seconds for others to leave: an
// idle keeper is gone sooner.
#include "bgworker/worker_process.hpp"
#include "bgworker/audit_sql.hpp"
#include "bgworker/batch_columns.hpp"
#include "bgworker/databases.hpp"
#include "bgworker/keeper_incidents.hpp"
#include "bgworker/keeper_sql.hpp"
#include "bgworker/keeper_usage.hpp"
#include "bgworker/keepers.hpp"
#include "bgworker/places.hpp"
#include "bgworker/worker_transaction.hpp"
#include "bgworker/workers.hpp"
#include "shmem/hub_links.hpp"
#include "src/core/clock.hpp"
#include "src/guc.hpp"
#include "src/pg/wait.hpp"

extern "C" {
#include "catalog/pg_type.h"
#include "postmaster/bgworker.h"

PGDLLEXPORT void steadytext_keeper_main(Datum);
}

#include <algorithm>
#include <iterator>

namespace steadytext::worker {

namespace {

constexpr std::int64_t kGatherUs = 50'000;  // writes that arrive together are written together
constexpr std::int64_t kIdleUs = 1'500'000;
constexpr std::int64_t kEvictionUs = 10'000'000;  // between looks at the limits while writes come in
constexpr std::int64_t kSweepUs = 10'000'000;     // between looks for usage and audit rows that are too old
constexpr std::uint32_t kAttempts = 3;            // for an answer whose row is refused
constexpr std::size_t kBatchBytes = 8 * 1024 * 1024;

struct Keeper {
    const shmem::Segment *segment;
    shmem::DatabaseRow *row;
    TakenWrites taken;
    TakenAudit taken_audit;
    std::uint32_t audit_row = 0;  // index of the row, when rows are written one by one
    std::uint32_t audit_missing = 0;
    std::uint32_t batch = TakenWrites::kMost;
    std::int64_t began_us = 0;
    std::int64_t evicted_us = 0;
    std::int64_t swept_us = 0;
    bool is_sweeping = false;    // there may be more to delete
    bool cache_is_held = false;  // a session that clears the cache holds it, so writes wait
    std::uint64_t incidents_written = 0;
    std::uint64_t refresh_under_way = 0;  // number of the last refresh that was requested before it began
};
Keeper *keeper;

// ---- steps, each in a transaction -----------------------------------------------------------------------------------

void take_batch() {
    keeper->taken.count = 0;
    std::size_t bytes = 0;
    for (std::uint32_t index = 0; keeper->taken.count < keeper->batch && bytes < kBatchBytes; index++) {
        if (!keeper->segment->cache_writes->take(MyDatabaseId, index))
            break;
        keeper->taken.indexes[keeper->taken.count++] = index;
        bytes += keeper->segment->cache_writes->size(index);
    }
}

// The taken records are finished: written or given up.
void settle_taken() {
    for (std::uint32_t i = 0; i < keeper->taken.count; i++)
        keeper->segment->cache_writes->finish(keeper->taken.indexes[i]);
    keeper->row->pending_writes.fetch_sub(keeper->taken.count);
    keeper->taken.count = 0;
}

void put_back_taken() {
    for (std::uint32_t i = 0; i < keeper->taken.count; i++)
        keeper->segment->cache_writes->put_back(MyDatabaseId, keeper->taken.indexes[i]);
    keeper->taken.count = 0;
}

// True if a single row caused the failure and not the table: data exceptions and constraints, limits of a row, errors
// that triggers raise.
bool is_of_one_row(const core::Problem &problem) {
    constexpr const char *kClasses[] = {"22", "23", "44", "54", "P0"};
    return std::any_of(std::begin(kClasses), std::end(kClasses),
                       [&](const char *each) { return strncmp(problem.sqlstate, each, 2) == 0; });
}

void give_back_taken(const core::Problem &problem) {
    const bool is_internal = strncmp(problem.sqlstate, "XX", 2) == 0;  // an answer may cause it again and again
    if (!is_of_one_row(problem) && !is_internal)
        return put_back_taken();
    for (std::uint32_t i = 0; i < keeper->taken.count; i++) {
        const std::uint32_t index = keeper->taken.indexes[i];
        if (keeper->segment->cache_writes->give_back(MyDatabaseId, index) < kAttempts)
            continue;
        (void)keeper->segment->cache_writes->take(MyDatabaseId, keeper->taken.indexes[i]);
        keeper->segment->cache_writes->finish(index);
        keeper->row->pending_writes.fetch_sub(1);
        keeper->segment->counters->add(0, shmem::Counter::CacheWritesDropped);
    }
    keeper->taken.count = 0;
}

void write_taken() {
    keeper->cache_is_held = begin_quietly() && !write_records(*keeper->segment->cache_writes, keeper->taken);
}

void write_taken_audit() {
    write_audit(*keeper->segment->audit, {keeper->taken_audit.indexes, keeper->taken_audit.count});
}
void write_missing_audit() { write_audit_missing(keeper->audit_missing); }
void write_one_audit() { write_audit(*keeper->segment->audit, {&keeper->audit_row, 1}); }

void refresh() {
    const std::uint64_t hits = keeper->row->hits();
    const std::int64_t start_us = core::monotonic_us();
    std::int64_t rows = 0;
    if (begin_quietly()) {
        rows = fold_hits(keeper->segment->hot_cache, MyDatabaseId);
        evict_and_tidy();
    }
    keeper->evicted_us = start_us;
    keeper->row->rows_refreshed.store(rows);
    keeper->row->hits_refreshed.store(hits);
    keeper->row->refresh_took_us.store(core::monotonic_us() - start_us);
}

// Also done for a database that no longer has the table: then there is nothing to update.
void tell_health() {
    const shmem::DaemonTable::Outlook outlook = keeper->segment->daemons->outlook();
    if (begin_quietly())
        write_health();
    keeper->row->health_standing.store(outlook.standing);
    keeper->row->health_traffic.store(outlook.traffic);
    keeper->row->health_us.store(core::monotonic_us());
}

void evict() {
    if (begin_quietly())
        evict_and_tidy();
}

void sweep() { keeper->is_sweeping = delete_old(); }

// Called after the commit, so that a session that waited for the refresh sees its rows.
void finish_refresh() {
    keeper->row->refreshed_us.store(core::monotonic_us());
    keeper->row->refreshes_done.store(keeper->refresh_under_way, std::memory_order_release);
}

bool write_batch(bool &any) {
    take_batch();
    any = keeper->taken.count > 0;
    if (!any)
        return true;
    keeper->cache_is_held = false;
    core::Problem problem;
    const bool good = run_transaction("writing cached answers", write_taken, problem);
    if (good && keeper->cache_is_held) {
        put_back_taken();
        any = false;
        return true;
    }
    good ? settle_taken() : give_back_taken(problem);
    keeper->batch = good ? std::min(keeper->batch * 2, TakenWrites::kMost) : 1;
    return good;
}

void settle_audit(std::uint32_t index) {
    keeper->segment->audit->finish(index);
    keeper->row->pending_audit.fetch_sub(1);
}

// Writes row by row, so that only a row that cannot be written is lost; returns how many rows are settled. Ends early
// if the table cannot be written.
std::uint32_t write_audit_one_by_one() {
    const TakenAudit &taken = keeper->taken_audit;
    for (std::uint32_t i = 0; i < taken.count; i++) {
        keeper->audit_row = taken.indexes[i];
        core::Problem problem;
        if (!run_transaction("writing an audit row", write_one_audit, problem)) {
            if (!is_of_one_row(problem))
                return i;
            keeper->segment->counters->add(0, shmem::Counter::AuditDropped);
            keeper->row->note_audit_missing();
        }
        settle_audit(keeper->audit_row);
    }
    return taken.count;
}

bool write_audit_rows() {
    const shmem::AuditRing &ring = *keeper->segment->audit;
    TakenAudit &taken = keeper->taken_audit;
    taken.count = 0;
    for (std::uint32_t index = 0; (index = ring.find(MyDatabaseId, index)) != shmem::AuditRing::kNone; index++)
        taken.indexes[taken.count++] = index;
    if (taken.count == 0)
        return true;
    core::Problem problem;
    std::uint32_t settled = 0;
    bool good = run_transaction("writing audit rows", write_taken_audit, problem);
    if (!good && is_of_one_row(problem)) {
        settled = write_audit_one_by_one();
        good = settled == taken.count;
    }
    for (std::uint32_t i = settled; good && i < taken.count; i++)
        settle_audit(taken.indexes[i]);
    return good;
}

// Writes into the audit log, now and then, that rows are missing. It tries again until that is written, unless that
// very row is refused.
bool tell_of_missing_audit(std::int64_t now_us) {
    shmem::DatabaseRow &row = *keeper->row;
    if (std::int64_t ignored = INT64_MAX; !audit_gap_is_due(row, now_us, ignored))
        return true;
    // Cleared before the count, so a later loss sets it anew.
    const std::int64_t since_us = row.audit_missing_since_us.exchange(0);
    keeper->audit_missing = row.audit_missing.exchange(0);
    core::Problem problem;
    if (keeper->audit_missing == 0 || run_transaction("writing an audit row", write_missing_audit, problem) ||
        is_of_one_row(problem))
        return true;
    row.audit_missing.fetch_add(keeper->audit_missing);
    row.audit_missing_since_us.store(since_us);
    return false;
}

// Writes all usage, so that it is on disk before the keeper leaves.
bool write_all_usage() {
    while (take_usage(*keeper->row)) {
        const bool good = run_transaction("writing usage", write_usage);
        settle_usage(good ? static_cast<std::uint32_t>(taken_usage().size()) : 0);
        if (!good)
            return false;
    }
    return true;
}

void write_new_incidents() { keeper->incidents_written = write_incidents(*keeper->row); }

bool note_incidents() {
    if (!has_incidents(*keeper->row))
        return true;
    const bool good = run_transaction("writing incidents", write_new_incidents);
    if (good)
        keeper->row->incidents_seen.store(keeper->incidents_written);
    return good;
}

shmem::HubLink::Wishes wishes;

void clear_as_wished() {
    static ArrayColumn roles;
    roles.begin(OIDOID, static_cast<int>(wishes.count) + 1);
    for (std::uint32_t i = 0; i < wishes.count; i++)
        roles.add(ObjectIdGetDatum(wishes.roles[i]));
    Oid types[] = {BOOLOID, roles.array_type()};
    Datum values[] = {BoolGetDatum(wishes.all), roles.array()};
    if (SPI_execute_with_args("SELECT _steadytext.hub_forget($1, $2)", 2, types, values, nullptr, false, 0) !=
        SPI_OK_SELECT)
        elog(ERROR, "could not clear the cache for a node");
}

// What nodes of this hub have cleared. If that fails they wait, or ask again.
bool clear_for_nodes() {
    if (!has_wishes(*keeper->row))
        return true;
    const auto index = static_cast<std::uint32_t>(keeper->row - keeper->segment->databases->begin());
    shmem::HubLink &link = shmem::hub_links().link(index, MyDatabaseId);
    link.take_wishes(wishes);
    const bool good = run_transaction("clearing the cache for a node", clear_as_wished);
    if (good)
        link.wishes_done.store(wishes.last, std::memory_order_release);
    else
        link.wish_again(wishes);
    return good;
}

// ---- when each step runs --------------------------------------------------------------------------------------------

bool refresh_is_due(std::int64_t now_us) {
    const shmem::DatabaseRow &row = *keeper->row;
    if (keeper->refresh_under_way > row.refreshes_done.load())
        return true;
    return row.hits() != row.hits_refreshed.load() && now_us >= row.refreshed_us.load() + refresh_interval_us();
}

// Does all work that is due; false if something failed.
bool work(std::int64_t now_us) {
    // Read first: a session that asked for a refresh then finds in it everything that was pending when it asked.
    keeper->refresh_under_way = keeper->row->refreshes_wanted.load();
    const bool noted = note_incidents();
    if (!clear_for_nodes())
        return false;
    // Even if some rows failed: a table that cannot be written holds up no other table.
    const bool audited = write_audit_rows() && tell_of_missing_audit(now_us);
    bool wrote_any;
    do {
        if (!write_batch(wrote_any))
            return false;
    } while (wrote_any && !turn_is_over(keeper->began_us));
    if (!noted || !audited)
        return false;
    if (std::int64_t ignored = INT64_MAX; health_is_due(*keeper->row, now_us, ignored) &&
                                          !run_transaction("writing steadytext_daemon_health", tell_health))
        return false;
    if (usage_is_due(*keeper->row, now_us) && !write_all_usage())
        return false;
    if (refresh_is_due(now_us)) {
        if (!run_transaction("refreshing frecency", refresh))
            return false;
        finish_refresh();
    } else if (now_us >= keeper->evicted_us + kEvictionUs) {
        keeper->evicted_us = now_us;
        if (!run_transaction("evicting cached answers", evict))
            return false;
    }
    if (keeper->is_sweeping || now_us >= keeper->swept_us + kSweepUs) {
        keeper->swept_us = now_us;
        return run_transaction("deleting old usage and audit rows", sweep);
    }
    return true;
}

void note_outcome(bool good) {
    if (good)
        keeper->row->keeper_failures.store(0);
    else
        keeper->row->keeper_failures.fetch_add(1);
}

void wait_until(std::int64_t until_us) {
    static pg::WaitEvent waiting("SteadytextKeeperMain");
    pg::sleep_until(until_us, waiting);
}

// False: something failed.
bool run_until_idle() {
    std::int64_t busy_us = core::monotonic_us();
    while (!turn_is_over(keeper->began_us)) {
        serve_interrupts();
        if (!guc::keeper)
            return true;
        const std::int64_t now_us = core::monotonic_us();
        std::int64_t due_us = INT64_MAX;
        if (has_work(*keeper->row, now_us, due_us) || keeper->is_sweeping) {
            const bool good = work(now_us);
            note_outcome(good);
            busy_us = core::monotonic_us();
            if (!good)
                return false;
            wait_until(core::monotonic_us() + kGatherUs);
        } else if (now_us - busy_us >= kIdleUs) {
            return true;
        } else {
            wait_until(std::min(busy_us + kIdleUs, turn_ends_us(keeper->began_us)));
            if (keeper->row->pending_writes.load() > 0 && keeper->row->pending_writes.load() < TakenWrites::kMost)
                wait_until(core::monotonic_us() + kGatherUs);
        }
    }
    return true;
}

}  // namespace

}  // namespace steadytext::worker

void steadytext_keeper_main(Datum) {
    using namespace steadytext;
    using namespace steadytext::worker;
    keeper = static_cast<Keeper *>(MemoryContextAllocZero(TopMemoryContext, sizeof(Keeper)));
    new (keeper) Keeper;
    keeper->segment = &shmem::segment();
    const bool has_extension = begin_in(my_order().database);
    const std::uint32_t index = keeper->segment->databases->find(MyDatabaseId);
    if (index == shmem::DatabaseTable::kNone)
        proc_exit(0);
    keeper->row = &(*keeper->segment->databases)[index];
    if (!become_keeper(*keeper->row))
        proc_exit(0);
    keeper->segment->cache_writes->recover(MyDatabaseId);
    if (!has_extension) {
        drop_work(*keeper->segment, *keeper->row, MyDatabaseId);
        proc_exit(0);
    }
    if (keeper->row->keeper_failures.load() > 0)
        keeper->batch = 1;
    begin_usage();
    keeper->began_us = core::monotonic_us();
    if (run_until_idle())
        (void)write_all_usage();
    proc_exit(0);
}
