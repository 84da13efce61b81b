// That the extension is not dropped while a worker is at work in its database.
//
// Workers hold the lock through each step (bgworker/step.cpp), who drops the extension from before the statement to the end of its transaction (a
// ProcessUtility hook). Regime: pg, within a transaction.
//
// It is a lock of the extension's own and not PostgreSQL's of the extension object: that one anybody can take who owns a function, by ALTER FUNCTION
// ... DEPENDS ON EXTENSION, and keep. This one is taken by DROP EXTENSION pg_steadytext, and by DROP ... CASCADE of the schema or of an extension on
// which it depends, of a role that owns what it drops, and by no other SQL.
//
// Order: this lock first, then tables. DROP EXTENSION locks them in an order of its own, so neither waits for the other while the other waits for it.
// DROP OWNED takes tables only: where it meets a worker, PostgreSQL's deadlock check ends one of them.
#pragma once

namespace steadytext::pg {

// For the rest of the transaction; false if the extension is not in this database. Waits, as long as lock_timeout says, for who is dropping it.
[[nodiscard]] bool lock_extension();

// Once, from _PG_init.
void install_extension_lock();

}  // namespace steadytext::pg
