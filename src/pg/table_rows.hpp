// Reads all rows of a small table of the extension, or the last rows of a large one, for any role: settings and limits
// also bind a role that may not read them.
//
// Called by src/session. Regime: pg.
#pragma once

#include "src/pg/postgres.hpp"

#include <span>

extern "C" {
#include "executor/tuptable.h"
}

namespace steadytext::pg {

// Calls `take` for each row as of now (in a parallel query: as of its beginning), in a memory context that is deleted
// afterwards.
void for_each_row(Oid table, void (*take)(TupleTableSlot *row, void *context), void *context);

// Does the same for the rows whose `column` is at least `least`, as the btree function `at_least` compares. Uses the
// index if its first column is `column`; the caller has locked the index as it has locked the table.
struct Bound {
    AttrNumber column;
    RegProcedure at_least;
    Datum least;
};
void for_each_row_from(Oid table, Oid index, const Bound &bound, void (*take)(TupleTableSlot *row, void *context),
                       void *context);

// The index of the primary key of a locked table; InvalidOid: the table has none.
[[nodiscard]] Oid primary_key(Oid table);

// Locks the tables to be read, so that for_each_row() does not wait; unlock_tables() gives the locks back. A role that
// may change a table may also keep it locked: then try_lock_tables() returns false with nothing locked, and
// lock_tables() waits for at most `milliseconds` or lock_timeout.
[[nodiscard]] bool try_lock_tables(std::span<const Oid> tables);
void lock_tables(std::span<const Oid> tables, int milliseconds);
void unlock_tables(std::span<const Oid> tables);

}  // namespace steadytext::pg
