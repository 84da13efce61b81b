// All rows of a small table of the extension's, whoever asks: settings and limits bind also a role that may not read them.
//
// Used by src/session. Regime: pg.
#pragma once

#include "src/pg/postgres.hpp"

extern "C" {
#include "executor/tuptable.h"
}

namespace steadytext::pg {

// Calls `take` for each row as of now (in a parallel query: as of its beginning), in a memory context that goes afterwards.
void for_each_row(Oid table, void (*take)(TupleTableSlot *row, void *context), void *context);

}  // namespace steadytext::pg
