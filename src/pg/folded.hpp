// What the cache of relations keeps of index expressions, index predicates and partition keys, with their constant calls evaluated.
//
// Called by src/session. Regime: pg.
#pragma once

#include "src/pg/postgres.hpp"

extern "C" {
#include "nodes/pg_list.h"
}

namespace steadytext::pg {

// Of these tables and their indexes, it is evaluated again when it is needed next. InvalidateSystemCaches() leaves it with those that are open, as a cursor's are.
// The tables are locked.
void forget_evaluated(const List *tables);

}  // namespace steadytext::pg
