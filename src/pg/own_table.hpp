// Which tables are the extension's: a table in public of the right name may be anybody's.
//
// Used by src/session, src/functions, src/queue and bgworker before they read or write a table. Regime: pg, within a transaction.
#pragma once

#include "src/pg/postgres.hpp"

namespace steadytext::pg {

// The OID of public.NAME if it is a member of the extension pg_steadytext in this database, else InvalidOid: then nothing is to be
// touched. Members are remembered, so that a lookup costs two probes of the catalogue caches.
[[nodiscard]] Oid own_table(const char *name);

// The same, locked (AccessShareLock) until the transaction ends: a statement that names the table meets this one and no other that took its
// name since. Workers look so before each statement.
[[nodiscard]] Oid lock_own_table(const char *name);

}  // namespace steadytext::pg
