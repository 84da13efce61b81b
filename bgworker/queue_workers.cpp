// Reconciling jobs with workers: see queue_workers.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "bgworker/queue_workers.hpp"
#include "bgworker/workers.hpp"

extern "C" {
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_database.h"
#include "postmaster/bgworker.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
}

#include <algorithm>

namespace steadytext::worker {

namespace {

constexpr std::int64_t kLookUs = 1'000'000;
constexpr std::int64_t kPauseUs = 200'000;      // between two starts for one database, doubled while they come to nothing
constexpr std::int64_t kLongestPauseUs = 30'000'000;
constexpr std::int64_t kVisitUs = 20'000;       // between looks at the worker that visits a database

// Databases to be visited, and who is there now. Only the launcher's process uses these.
Oid *unvisited;
int unvisited_count = -1;  // -1: not listed yet
BackgroundWorkerHandle *visitor;

struct Start {
    std::int64_t not_before_us;
    std::int64_t pause_us;
};
Start starts[shmem::DatabaseTable::kRows];

bool ask_postmaster(Oid database, BackgroundWorkerHandle **handle) {
    MemoryContext caller = MemoryContextSwitchTo(TopMemoryContext);
    *handle = start_worker("queue worker", "steadytext_queue_main", database, ObjectIdGetDatum(database));
    MemoryContextSwitchTo(caller);
    if (*handle == nullptr)
        ereport(LOG, (errmsg("no background worker is free for the pg_steadytext queue of database %u", database),
                      errhint("Raise max_worker_processes.")));
    return *handle != nullptr;
}

// pg_database is there without a database.
void list_databases() {
    StartTransactionCommand();
    (void)GetTransactionSnapshot();
    Relation table = table_open(DatabaseRelationId, AccessShareLock);
    TableScanDesc scan = table_beginscan_catalog(table, 0, nullptr);
    int room = 0;
    unvisited_count = 0;
    for (HeapTuple tuple; HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection));) {
        const auto *database = reinterpret_cast<Form_pg_database>(GETSTRUCT(tuple));
        if (!database->datallowconn)
            continue;
        if (unvisited_count == room) {
            room = std::max(2 * room, 16);
            const Size bytes = sizeof(Oid) * static_cast<Size>(room);
            unvisited = static_cast<Oid *>(unvisited == nullptr ? MemoryContextAlloc(TopMemoryContext, bytes) : repalloc(unvisited, bytes));
        }
        unvisited[unvisited_count++] = database->oid;
    }
    table_endscan(scan);
    table_close(table, AccessShareLock);
    CommitTransactionCommand();
}

// One at a time; true while there are more.
bool visit_databases() {
    if (unvisited_count < 0)
        list_databases();
    pid_t pid;
    if (visitor != nullptr) {
        const BgwHandleStatus status = GetBackgroundWorkerPid(visitor, &pid);
        if (status == BGWH_NOT_YET_STARTED)
            return true;
        pfree(visitor);  // it runs, has run, or never will; if it stays, there is work
        visitor = nullptr;
    }
    if (unvisited_count == 0)
        return false;
    if (ask_postmaster(unvisited[unvisited_count - 1], &visitor))
        unvisited_count--;
    return true;
}

bool has_jobs(const shmem::DatabaseRow &row, std::int64_t now_us, std::int64_t &again_us) {
    if (row.queue_changes.load(std::memory_order_acquire) != row.queue_seen.load())
        return true;
    const std::int64_t due_us = row.queue_due_us.load();
    if (due_us == 0 || due_us > now_us) {
        again_us = due_us == 0 ? again_us : std::min(again_us, due_us);
        return false;
    }
    return true;
}

}  // namespace

std::int64_t start_queue_workers(const shmem::Segment &segment, std::int64_t now_us) {
    std::int64_t again_us = now_us + kLookUs;
    if (RecoveryInProgress())
        return again_us;
    if (visit_databases())
        again_us = now_us + kVisitUs;
    for (std::uint32_t i = 0; i < shmem::DatabaseTable::kRows && segment.databases->rows[i].oid.load() != 0; i++) {
        shmem::DatabaseRow &row = segment.databases->rows[i];
        Start &start = starts[i];
        if (row.queue_pid.load() != 0) {
            start.pause_us = 0;
            continue;
        }
        if (!has_jobs(row, now_us, again_us))
            continue;
        if (now_us >= start.not_before_us) {
            BackgroundWorkerHandle *handle = nullptr;
            (void)ask_postmaster(row.oid.load(), &handle);
            if (handle != nullptr)
                pfree(handle);
            start.pause_us = std::clamp(start.pause_us * 2, kPauseUs, kLongestPauseUs);
            start.not_before_us = now_us + start.pause_us;
        }
        again_us = std::min(again_us, start.not_before_us);
    }
    return again_us;
}

}  // namespace steadytext::worker
