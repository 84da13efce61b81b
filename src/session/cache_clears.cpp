// The number, the message, and what a session does with them: see cache_clears.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/session/cache_clears.hpp"
#include "src/pg/once.hpp"
#include "src/pg/own_table.hpp"
#include "src/session/hub_link.hpp"
#include "src/session/keeper_call.hpp"

extern "C" {
#include "access/heapam.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "commands/async.h"
#include "executor/tuptable.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
}

namespace steadytext::session {

namespace {

Oid table_of_clears() { return pg::own_table("cache_clears", "_steadytext"); }

// The newest committed version of the row, or this transaction's own; the slot is empty if there is no row.
void read_row(Relation table, TupleTableSlot *row) {
    Snapshot snapshot = RegisterSnapshot(IsInParallelMode() ? GetActiveSnapshot() : GetLatestSnapshot());
    TableScanDesc scan = table_beginscan(table, snapshot, 0, nullptr);
    if (table_scan_getnextslot(scan, ForwardScanDirection, row))
        ExecMaterializeSlot(row);
    table_endscan(scan);
    UnregisterSnapshot(snapshot);
}

std::int64_t number_in(TupleTableSlot *row) {
    bool is_null = true;
    const Datum number = TTS_EMPTY(row) ? Datum{} : slot_getattr(row, 1, &is_null);
    return is_null ? 0 : DatumGetInt64(number);
}

}  // namespace

std::int64_t clears() {
    const Oid oid = table_of_clears();
    Relation table = OidIsValid(oid) ? try_relation_open(oid, AccessShareLock) : nullptr;
    if (table == nullptr)
        return 0;
    TupleTableSlot *row = table_slot_create(table, nullptr);
    read_row(table, row);
    const std::int64_t number = number_in(row);
    ExecDropSingleTupleTableSlot(row);
    relation_close(table, AccessShareLock);
    return number;
}

namespace {

bool has_heard = true;  // what there is to be heard, for all that this session knows
Oid heard_of = InvalidOid;

void hear(Datum, Oid relation) {
    if (relation == InvalidOid || heard_of == InvalidOid || relation == heard_of)
        has_heard = false;
}

void follow_primary() {
    shmem::CacheEpochs &epochs = *shmem::segment().cache_epochs;
    // Before the number is read: a clear that is replayed meanwhile is heard of afterwards.
    pg::once([] { CacheRegisterRelcacheCallback(hear, 0); });
    epochs.follow();
    has_heard = true;
    heard_of = table_of_clears();
    const std::int64_t number = clears();
    shmem::DatabaseRow *database = my_database();
    if (database == nullptr) {
        epochs.clear(MyDatabaseId);
        return;
    }
    // release, after the epoch: a session that finds the number here also finds the epoch raised. Pairs with the acquire.
    if (database->clears_heard.load(std::memory_order_acquire) != number) {
        epochs.clear(MyDatabaseId);
        database->clears_heard.store(number, std::memory_order_release);
    }
}

// Independent nodes that have asked lately listen; whoever misses the message asks again anyway.
void tell_nodes() {
    constexpr std::int64_t kLatelyUs = 600'000'000;
    const shmem::HubLink *link = hub_link();
    const std::int64_t watched_us = link == nullptr ? 0 : link->watched_us.load();
    if (watched_us != 0 && core::monotonic_us() - watched_us < kLatelyUs)
        Async_Notify("steadytext_clears", nullptr);
}

}  // namespace

void announce_clear() {
    const Oid oid = table_of_clears();
    if (!OidIsValid(oid))
        return;
    Relation table = table_open(oid, RowExclusiveLock);
    TupleTableSlot *row = table_slot_create(table, nullptr);
    read_row(table, row);
    Datum values[1] = {Int64GetDatum(number_in(row) + 1)};
    bool nulls[1] = {false};
    HeapTuple tuple = heap_form_tuple(RelationGetDescr(table), values, nulls);
    if (TTS_EMPTY(row)) {
        simple_heap_insert(table, tuple);
    } else {
        ItemPointerData place = row->tts_tid;
        pg::update_heap_tuple(table, &place, tuple);
    }
    heap_freetuple(tuple);
    ExecDropSingleTupleTableSlot(row);
    CacheInvalidateRelcache(table);
    tell_nodes();
    table_close(table, NoLock);
    CommandCounterIncrement();  // so that the next statement of this transaction finds the row as it is now
}

void heed_clears() {
    static bool is_first = true, follows = true;
    if (!follows)
        return;
    follows = RecoveryInProgress();
    if (!follows)  // there is no primary, or no longer: what it has cleared is forgotten with all else
        shmem::segment().cache_epochs->end_following();
    else if (is_first || !has_heard)
        follow_primary();
    is_first = false;
}

}  // namespace steadytext::session
