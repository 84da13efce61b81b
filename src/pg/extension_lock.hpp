// Prevents that the extension is dropped while a worker is at work in its database.
//
// A worker holds the lock through each step (bgworker/worker_transaction.cpp). A transaction that drops the extension takes it before
// the statement (in a ProcessUtility hook) and holds it to its end. Regime: pg, within a transaction.
//
// It is a lock of the extension's own, not PostgreSQL's lock on the extension object: any owner of a function can take
// and keep that lock, by ALTER FUNCTION ... DEPENDS ON EXTENSION. The extension's own lock is taken by DROP EXTENSION
// pg_steadytext, and by DROP ... CASCADE of its schema or of an extension that it depends on, if the role owns the
// object it drops; no other SQL takes it.
//
// A worker's own steps are short. A callback may take as long as its deadline. So a session that drops the extension
// ends the callback, whose row goes with the extension.
//
// Order: this lock first, then tables. DROP EXTENSION locks the tables in its own order, but holds this lock before, so
// a worker and DROP EXTENSION cannot deadlock. DROP OWNED takes tables only: if it meets a worker, PostgreSQL's
// deadlock check ends one of the two.
#pragma once

namespace steadytext::pg {

// Holds the lock for the rest of the transaction; false if the extension is not in this database. While another
// transaction drops the extension it waits, for at most lock_timeout.
[[nodiscard]] bool lock_extension();

// Called once, by _PG_init. `end_callbacks` is called before a session waits to drop the extension.
void install_extension_lock(void (*end_callbacks)());

}  // namespace steadytext::pg
