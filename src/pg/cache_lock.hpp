// A lock between the keeper, which writes cache rows, and sessions that clear the cache, change its rows by hand or
// restore rows: they never work at the same time.
//
// steadytext_usage and steadytext_incidents have the same lock, for restores: after a restore has looked for a row, the
// keeper could write that row first.
//
// Called by src/functions (sessions that clear) and bgworker (the keeper). Regime: pg, within a transaction, which
// holds the lock to its end.
//
// Order: the table's own lock first, then this lock, then rows; so a holder of this lock never waits for a process that
// waits for it. Clearing raises the database's epoch while it holds the lock, and again when it commits, before the
// lock is released. So each answer that the keeper holds is either in the table before rows are deleted, and deleted
// with them, or the keeper finds it stale once it has the lock. SQL can take this lock only by changing the cache: it
// is no advisory lock.
#pragma once

#include "src/pg/own_table.hpp"

extern "C" {
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
}

namespace steadytext::pg {

inline LOCKTAG cache_lock_of(Oid table) {
    constexpr std::uint16_t kPart = 1;  // relations themselves are locked by another kind of tag
    LOCKTAG tag;
    SET_LOCKTAG_OBJECT(tag, MyDatabaseId, RelationRelationId, table, kPart);
    return tag;
}

// Waits until no keeper writes, and keeps keepers from writing.
inline void lock_cache_for_clearing(Oid table) {
    const LOCKTAG tag = cache_lock_of(table);
    (void)LockAcquire(&tag, ExclusiveLock, false, false);
}

// False if a session clears the cache now, or waits to clear it: the keeper does other work meanwhile.
[[nodiscard]] inline bool lock_cache_for_writing(Oid table) {
    const LOCKTAG tag = cache_lock_of(table);
    LockRelationOid(table, RowExclusiveLock);
    return LockAcquire(&tag, ShareLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

// For the keeper's other tables, by name. A restore holds this lock while it inserts, so this waits, for at most
// lock_timeout. False if the table is not the extension's: then nothing may be touched.
[[nodiscard]] inline bool lock_own_table_for_writing(const char *name) {
    const Oid table = lock_own_table(name);
    if (!OidIsValid(table))
        return false;
    const LOCKTAG tag = cache_lock_of(table);
    LockRelationOid(table, RowExclusiveLock);
    (void)LockAcquire(&tag, ShareLock, false, false);
    return true;
}

}  // namespace steadytext::pg
