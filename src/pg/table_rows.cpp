// A scan, not a query: no plan, no privileges, no user code. See table_rows.hpp. Regime: pg.
#include "src/pg/table_rows.hpp"
#include "src/pg/lock_wait.hpp"

extern "C" {
#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
}

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

void say_which_table(void *table) {
    const char *name = get_rel_name(*static_cast<const Oid *>(table));
    errcontext("reading table %s, which another transaction has locked", name == nullptr ? "of settings" : name);
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
    bound_lock_waits(milliseconds);
    for (const Oid table : tables)
        if (OidIsValid(table))
            lock_one(table);
    AtEOXact_GUC(false, settings);
}

void unlock_tables(std::span<const Oid> tables) {
    for (const Oid table : tables)
        if (OidIsValid(table))
            UnlockRelationOid(table, AccessShareLock);
}

void for_each_row(Oid table, void (*take)(TupleTableSlot *, void *), void *context) {
    if (!OidIsValid(table))
        return;
    MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "steadytext table rows", ALLOCSET_SMALL_SIZES);
    MemoryContext previous = MemoryContextSwitchTo(scratch);
    if (Relation relation = try_relation_open(table, AccessShareLock); relation != nullptr) {
        scan(relation, take, context);
        relation_close(relation, AccessShareLock);
    }
    MemoryContextSwitchTo(previous);
    MemoryContextDelete(scratch);
}

}  // namespace steadytext::pg
