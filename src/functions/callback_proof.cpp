// The row is inserted as PostgreSQL inserts into its catalogues, without SQL, so that no name is looked up and no right
// is lent: see callback_proof.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/functions/callback_proof.hpp"
#include "src/pg/own_table.hpp"

extern "C" {
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "utils/rel.h"
}

#include <iterator>

namespace steadytext::functions {

void prove_callback(const pg_uuid_t &request, Oid role, Datum callback, Oid owner) {
    const Oid table = pg::own_table("queue_callbacks", "_steadytext");
    if (!OidIsValid(table))
        ereport(ERROR,
                (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("table %s does not exist", "_steadytext.queue_callbacks")));
    Relation relation = table_open(table, RowExclusiveLock);
    Datum values[] = {UUIDPGetDatum(&request), ObjectIdGetDatum(role), callback, ObjectIdGetDatum(owner)};
    bool nulls[std::size(values)] = {};
    if (RelationGetDescr(relation)->natts != static_cast<int>(std::size(values)))
        ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
                        errmsg("table %s does not have the columns it was made with", "_steadytext.queue_callbacks")));
    HeapTuple row = heap_form_tuple(RelationGetDescr(relation), values, nulls);
    CatalogTupleInsert(relation, row);
    heap_freetuple(row);
    table_close(relation, NoLock);
}

}  // namespace steadytext::functions
