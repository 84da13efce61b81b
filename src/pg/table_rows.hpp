// All rows of a small table of the extension's, whoever asks: settings and limits bind also a role that may not read them.
//
// Used by src/session. Regime: pg.
#pragma once

#include "src/pg/postgres.hpp"

#include <span>

extern "C" {
#include "executor/tuptable.h"
}

namespace steadytext::pg {

// Calls `take` for each row as of now (in a parallel query: as of its beginning), in a memory context that goes afterwards.
void for_each_row(Oid table, void (*take)(TupleTableSlot *row, void *context), void *context);

// Locks the tables to be read, so that for_each_row() does not wait; unlock_tables() gives the locks back. Who may change a table may have it locked
// for as long as he likes: try_lock_tables() then says false, with nothing locked, and lock_tables() waits for so long at most, or as lock_timeout says.
[[nodiscard]] bool try_lock_tables(std::span<const Oid> tables);
void lock_tables(std::span<const Oid> tables, int milliseconds);
void unlock_tables(std::span<const Oid> tables);

}  // namespace steadytext::pg
