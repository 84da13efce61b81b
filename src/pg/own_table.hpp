// Which tables are the extension's: a table in public of the right name may be anybody's.
//
// Used by src/session, src/functions, src/queue, bgworker and src/pg/owner_guard.cpp before they read or write a table. Regime: pg, within a transaction.
#pragma once

#include "src/pg/postgres.hpp"

namespace steadytext::pg {

// Whether the relation is a member of the extension pg_steadytext in this database.
[[nodiscard]] bool is_own_relation(Oid relation);

// The OID of the table of that name if it is a member of the extension pg_steadytext in this database, else InvalidOid: then nothing is to
// be touched. Members are remembered, so that a lookup costs two probes of the catalogue caches.
[[nodiscard]] Oid own_table(const char *name, const char *schema = "public");

// The same, locked (AccessShareLock) until the transaction ends, so that it is not dropped before the statement that names it. Workers look so
// before each statement. That the statement then meets no other table is seen to by owner_guard.hpp.
[[nodiscard]] Oid lock_own_table(const char *name);

}  // namespace steadytext::pg
