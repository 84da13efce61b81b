// Tells which tables belong to the extension: a table in public with the right name may belong to anybody.
//
// Called by src/session, src/functions, src/queue, bgworker and src/pg before they read or write a table. Regime: pg,
// within a transaction.
#pragma once

#include "src/pg/postgres.hpp"

namespace steadytext::pg {

// Whether the relation is a member of the extension pg_steadytext in this database.
[[nodiscard]] bool is_own_relation(Oid relation);

// The OID of the table with this name if it is a member of the extension pg_steadytext in this database, else
// InvalidOid: then nothing may be touched. Members are remembered, so a lookup costs two probes of the catalogue
// caches.
[[nodiscard]] Oid own_table(const char *name, const char *schema = "public");

// As own_table(), and locks the table (AccessShareLock) until the transaction ends, so that it is not dropped before
// the statement that names it. Workers call it before each statement. owner_guard.hpp ensures that the statement meets
// no other table.
[[nodiscard]] Oid lock_own_table(const char *name, const char *schema = "public");

}  // namespace steadytext::pg
