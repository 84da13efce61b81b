// A scan, not a query: no plan, no privileges, no user code. See table_rows.hpp. Regime: pg.
#include "src/pg/table_rows.hpp"

extern "C" {
#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
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

}  // namespace

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
