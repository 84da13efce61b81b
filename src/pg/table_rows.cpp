// Scans instead of querying: no plan, no privileges, no user code. See table_rows.hpp. Regime: pg.
#include "src/pg/table_rows.hpp"
#include "src/core/clock.hpp"
#include "src/pg/lock_wait.hpp"

extern "C" {
#include "access/genam.h"
#include "access/heapam.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
}

#include <algorithm>

namespace steadytext::pg {

namespace {

void scan(Relation table, void (*take)(TupleTableSlot *, void *), void *context) {
    Snapshot snapshot = RegisterSnapshot(IsInParallelMode() ? GetActiveSnapshot() : GetLatestSnapshot());
    TupleTableSlot *row = table_slot_create(table, nullptr);
    TableScanDesc rows = table_beginscan(table, snapshot, 0, nullptr);
    while (table_scan_getnextslot(rows, ForwardScanDirection, row))
        take(row, context);
    table_endscan(rows);
    ExecDropSingleTupleTableSlot(row);
    UnregisterSnapshot(snapshot);
}

bool begins_with(Oid index, AttrNumber column) {
    if (!OidIsValid(index))
        return false;
    Relation relation = index_open(index, AccessShareLock);
    const bool begins = relation->rd_rel->relam == BTREE_AM_OID && relation->rd_index->indkey.values[0] == column;
    index_close(relation, AccessShareLock);
    return begins;
}

void scan_from(Relation table, Oid index, const Bound &bound, void (*take)(TupleTableSlot *, void *), void *context) {
    Snapshot snapshot = RegisterSnapshot(IsInParallelMode() ? GetActiveSnapshot() : GetLatestSnapshot());
    TupleTableSlot *row = MakeSingleTupleTableSlot(RelationGetDescr(table), &TTSOpsHeapTuple);
    ScanKeyData key;
    ScanKeyInit(&key, bound.column, BTGreaterEqualStrategyNumber, bound.at_least, bound.least);
    SysScanDesc rows = systable_beginscan(table, index, begins_with(index, bound.column), snapshot, 1, &key);
    while (HeapTuple tuple = systable_getnext(rows))
        take(ExecStoreHeapTuple(tuple, row, false), context);
    systable_endscan(rows);
    ExecDropSingleTupleTableSlot(row);
    UnregisterSnapshot(snapshot);
}

// Opens the table for `read`, in a memory context that goes afterwards.
template <class Read>
void with_table(Oid table, Read &&read) {
    if (!OidIsValid(table))
        return;
    MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "steadytext table rows", ALLOCSET_SMALL_SIZES);
    MemoryContext previous = MemoryContextSwitchTo(scratch);
    if (Relation relation = try_relation_open(table, AccessShareLock); relation != nullptr) {
        read(relation);
        relation_close(relation, AccessShareLock);
    }
    MemoryContextSwitchTo(previous);
    MemoryContextDelete(scratch);
}

void say_which_table(void *table) {
    const Oid relation = *static_cast<const Oid *>(table);
    const char *name = get_rel_name(relation);
    errcontext("reading table %s, which another transaction has locked", name == nullptr ? "of settings" : name);
    if (geterrcode() != ERRCODE_LOCK_NOT_AVAILABLE || name == nullptr)
        return;
    errmsg("table %s is locked by another transaction, or one waits to lock it", name);
    errhint("SELECT pid, mode, granted FROM pg_locks WHERE relation = %u tells whose; pg_blocking_pids() of a process "
            "that waits, for whom it waits.",
            relation);
}

void lock_one(const Oid table) {
    ErrorContextCallback context{error_context_stack, say_which_table, const_cast<Oid *>(&table)};
    error_context_stack = &context;
    LockRelationOid(table, AccessShareLock);
    error_context_stack = context.previous;
}

}  // namespace

bool try_lock_tables(std::span<const Oid> tables) {
    for (std::size_t i = 0; i < tables.size(); i++)
        if (OidIsValid(tables[i]) && !ConditionalLockRelationOid(tables[i], AccessShareLock)) {
            unlock_tables(tables.first(i));
            return false;
        }
    return true;
}

void lock_tables(std::span<const Oid> tables, int milliseconds) {
    const int settings = NewGUCNestLevel();
    const std::int64_t until_us = core::monotonic_us() + std::int64_t{milliseconds} * 1000;
    for (const Oid table : tables) {
        if (!OidIsValid(table))
            continue;
        bound_lock_waits(static_cast<int>(
            std::clamp((until_us - core::monotonic_us()) / 1000, std::int64_t{1}, std::int64_t{milliseconds})));
        lock_one(table);
    }
    AtEOXact_GUC(false, settings);
}

void unlock_tables(std::span<const Oid> tables) {
    for (const Oid table : tables)
        if (OidIsValid(table))
            UnlockRelationOid(table, AccessShareLock);
}

void for_each_row(Oid table, void (*take)(TupleTableSlot *, void *), void *context) {
    with_table(table, [&](Relation relation) { scan(relation, take, context); });
}

void for_each_row_from(Oid table, Oid index, const Bound &bound, void (*take)(TupleTableSlot *, void *),
                       void *context) {
    with_table(table, [&](Relation relation) { scan_from(relation, index, bound, take, context); });
}

Oid primary_key(Oid table) {
    Oid index = InvalidOid;
    with_table(table, [&](Relation relation) {
        list_free(RelationGetIndexList(relation));
        index = relation->rd_pkindex;
    });
    return index;
}

}  // namespace steadytext::pg
