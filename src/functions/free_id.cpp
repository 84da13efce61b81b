// The trigger that gives a row another id if its own is taken. Regime: pg.
//
// Rows of a dump bring ids, and a dump sets sequences back, while sessions and workers add rows beside it. So an id may
// be given twice, in either order. A row that comes second gets an id that no sequence and no dump gives, unless it is
// of another such row: a random number from 2^52 up. (From 2^53 on, programs that keep numbers as float8 would change
// it.) A row that is not committed yet counts as well: the index would make the second row wait for it, and then fail.
//
// Not for rows that logical replication brings: there the publisher names rows by their ids.
#include "src/pg/compat.hpp"
#include "src/pg/boundary.hpp"

extern "C" {
#include "access/genam.h"
#include "access/stratnum.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
}

#include <cstdint>

namespace {

constexpr std::int64_t kFirst = std::int64_t{1} << 52;

bool is_taken(Relation table, Oid index, AttrNumber column, std::int64_t id) {
    SnapshotData dirty;
    InitDirtySnapshot(dirty);
    ScanKeyData key;
    ScanKeyInit(&key, column, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
    SysScanDesc rows = systable_beginscan(table, index, true, &dirty, 1, &key);
    const bool found = HeapTupleIsValid(systable_getnext(rows));
    systable_endscan(rows);
    return found;
}

std::int64_t random_id() {
    std::uint64_t bits = 0;
    if (!pg_strong_random(&bits, sizeof bits))
        ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate a random number")));
    return kFirst + static_cast<std::int64_t>(bits % static_cast<std::uint64_t>(kFirst));
}

}  // namespace

STEADYTEXT_FUNCTION(steadytext_take_free_id) {
    if (!CALLED_AS_TRIGGER(fcinfo))
        ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
                        errmsg("steadytext_take_free_id must be called as a trigger")));
    const auto *trigger = reinterpret_cast<TriggerData *>(fcinfo->context);
    Relation table = trigger->tg_relation;
    HeapTuple row = trigger->tg_trigtuple;
    const int column = SPI_fnumber(RelationGetDescr(table), "id");
    list_free(RelationGetIndexList(table));  // reads the indexes, if they are not known
    const Oid index = table->rd_pkindex;
    bool is_null = true;
    const Datum id = column > 0 && OidIsValid(index) && SPI_gettypeid(RelationGetDescr(table), column) == INT8OID
                         ? SPI_getbinval(row, RelationGetDescr(table), column, &is_null)
                         : static_cast<Datum>(0);
    if (is_null || !is_taken(table, index, static_cast<AttrNumber>(column), DatumGetInt64(id)))
        return PointerGetDatum(row);
    std::int64_t free_id;
    do {
        CHECK_FOR_INTERRUPTS();
        free_id = random_id();
    } while (is_taken(table, index, static_cast<AttrNumber>(column), free_id));
    int replaced[] = {column};
    Datum values[] = {Int64GetDatum(free_id)};
    bool nulls[] = {false};
    return PointerGetDatum(heap_modify_tuple_by_cols(row, RelationGetDescr(table), 1, replaced, values, nulls));
}
