// Reads pg_database and frees rows: see databases.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "bgworker/databases.hpp"
#include "src/guc.hpp"

extern "C" {
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
}

#include <algorithm>

namespace steadytext::worker {

namespace {

constexpr std::int64_t kTidyUs = 60'000'000;
constexpr std::int64_t kKnownUs = 1'000'000;  // how long a database is believed to be there
constexpr std::int64_t kUnknownUs = 100'000;  // how long a database is believed not to be there

// OIDs in order, as of `looked_us`.
template <class Each>
struct ListOf {
    Each *oids = nullptr;
    int count = 0;
    int room = 0;

    void add(Each oid) {
        if (count == room) {
            room = std::max(2 * room, 64);
            const Size bytes = sizeof(Each) * static_cast<Size>(room);
            oids = static_cast<Each *>(oids == nullptr ? MemoryContextAlloc(TopMemoryContext, bytes)
                                                       : repalloc(oids, bytes));
        }
        oids[count++] = oid;
    }
    void sort() { std::sort(oids, oids + count); }
    [[nodiscard]] bool has(Each oid) const { return std::binary_search(oids, oids + count, oid); }
};
using Listed = ListOf<Oid>;
ListOf<std::uint64_t> owned;  // of each database {oid:32 | owner:32}
Listed all;                   // all databases
Listed joinable;              // the databases that accept connections
Listed with_rows;             // the databases that had a row before pg_database was read
std::int64_t looked_us = 0;
std::uint64_t made_free = 0;

// False if pg_database is locked.
bool read_databases() {
    StartTransactionCommand();
    (void)GetTransactionSnapshot();
    const bool locked = ConditionalLockRelationOid(DatabaseRelationId, AccessShareLock);
    if (locked) {
        all.count = joinable.count = owned.count = 0;
        Relation table = table_open(DatabaseRelationId, NoLock);
        TableScanDesc scan = table_beginscan_catalog(table, 0, nullptr);
        for (HeapTuple tuple; HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection));) {
            const auto *database = reinterpret_cast<Form_pg_database>(GETSTRUCT(tuple));
            all.add(database->oid);
            owned.add(std::uint64_t{database->oid} << 32 | database->datdba);
            if (database->datallowconn && database->datconnlimit >= -1)  // -2: a DROP DATABASE that did not finish
                joinable.add(database->oid);
        }
        table_endscan(scan);
        table_close(table, NoLock);
        all.sort();
        owned.sort();
        joinable.sort();
    }
    CommitTransactionCommand();
    return locked;
}

bool has_worker(const shmem::DatabaseRow &row) { return row.keeper_pid.load() != 0 || row.queue_pid.load() != 0; }

}  // namespace

void drop_work(const shmem::Segment &segment, shmem::DatabaseRow &row, Oid database) {
    for (std::uint32_t index = 0; segment.cache_writes->take(database, index);) {
        segment.cache_writes->finish(index);
        row.pending_writes.fetch_sub(1);
    }
    for (std::uint32_t index = 0; (index = segment.audit->find(database, index)) != shmem::AuditRing::kNone; index++) {
        segment.audit->finish(index);
        row.pending_audit.fetch_sub(1);
        segment.counters->add(0, shmem::Counter::AuditDropped);
    }
    row.audit_missing_since_us.store(0);
    row.audit_missing.store(0);
    shmem::Usage::Entry unwritten;
    while (segment.usage->take(database, &unwritten, 1) > 0)
        continue;
    row.usage_since_us.store(0);
    row.refreshes_done.store(row.refreshes_wanted.load(), std::memory_order_release);
    row.hits_refreshed.store(row.hits());
    row.incidents_seen.store(segment.incidents->last());
    row.health_wanted.store(false);
}

namespace {

void free_rows(const shmem::Segment &segment) {
    shmem::DatabaseTable &databases = *segment.databases;
    bool any = false;
    for (std::uint32_t i = 0; i < databases.size(); i++) {
        shmem::DatabaseRow &row = databases[i];
        const Oid database = row.oid.load();
        // A database that came since may be too new for the list.
        if (database == 0 || all.has(database) || !with_rows.has(database) || has_worker(row))
            continue;
        segment.cache_writes->recover(database);
        drop_work(segment, row, database);
        databases.free_row(i);
        any = true;
    }
    if (!any || databases.refused_us() == 0)
        return;
    databases.forgive();
    made_free++;
}

// Logged when a database finds no row, and not again for an hour.
void complain_of_many(const shmem::Segment &segment, std::int64_t now_us) {
    constexpr std::int64_t kSayAgainUs = 3'600'000'000;
    static std::int64_t said_us = 0;
    if (said_us != 0 && now_us - said_us < kSayAgainUs)
        return;
    said_us = now_us;
    ereport(LOG, (errmsg("pg_steadytext works in %u databases, and there are more", segment.databases->size()),
                  errdetail("In the others nothing is written to tables, and no asynchronous call is carried out."),
                  errhint("Raise steadytext.max_databases and restart the server.")));
}

// Each look frees rows, and reports databases that still find no row, whatever it was for: the looks of can_join()
// reset the interval of tidy_databases(), which would otherwise never get its turn.
bool look(const shmem::Segment &segment, std::int64_t now_us) {
    with_rows.count = 0;
    for (const shmem::DatabaseRow &row : *segment.databases)
        if (const Oid database = row.oid.load(); database != 0)
            with_rows.add(database);
    with_rows.sort();
    looked_us = now_us;
    if (!read_databases())
        return false;
    free_rows(segment);
    if (segment.databases->refused_us() != 0)
        complain_of_many(segment, now_us);
    return true;
}

}  // namespace

void tidy_databases(const shmem::Segment &segment, std::int64_t now_us) {
    std::uint32_t taken = 0;
    for (const shmem::DatabaseRow &row : *segment.databases)
        taken += row.oid.load() != 0;
    if (now_us - looked_us < (taken > segment.databases->size() / 2 ? kKnownUs : kTidyUs))
        return;
    (void)look(segment, now_us);
}

bool can_join(const shmem::Segment &segment, Oid database, std::int64_t now_us) {
    const std::int64_t age_us = now_us - looked_us;
    if (looked_us == 0 || age_us > kKnownUs || (age_us > kUnknownUs && !joinable.has(database)))
        (void)look(segment, now_us);
    return joinable.has(database);
}

bool list_databases(const shmem::Segment &segment, std::int64_t now_us, const Oid *&databases, int &count) {
    if (!look(segment, now_us))
        return false;
    databases = joinable.oids;
    count = joinable.count;
    return true;
}

Oid owner_of(Oid database) {
    const std::uint64_t *end = owned.oids + owned.count;
    const std::uint64_t *found =
        std::lower_bound(static_cast<const std::uint64_t *>(owned.oids), end, std::uint64_t{database} << 32);
    return found != end && *found >> 32 == database ? static_cast<Oid>(*found & UINT32_MAX) : InvalidOid;
}

std::uint64_t rows_made_free() { return made_free; }

}  // namespace steadytext::worker
