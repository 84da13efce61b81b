// The part of the cache of relations that keeps index expressions, index predicates and partition keys, with their
// constant calls evaluated.
//
// Called by src/session. Regime: pg.
#pragma once

#include "src/pg/postgres.hpp"

extern "C" {
#include "nodes/pg_list.h"
}

namespace steadytext::pg {

// Forgets the evaluated parts of these tables and their indexes, so that they are evaluated again when needed next.
// InvalidateSystemCaches() does not do that for tables and indexes that are open, for example in a cursor. The tables
// are locked.
void forget_evaluated(const List *tables);

}  // namespace steadytext::pg
