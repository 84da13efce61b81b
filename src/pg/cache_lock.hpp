// Who clears the cache, changes its rows by hand or restores rows, and the keeper, who writes rows of its own: not both at once.
//
// Of steadytext_usage and steadytext_incidents there is the same lock, for restores: the keeper's row could take the place of a restored one
// after it was looked for.
//
// Used by src/functions (sessions that clear) and bgworker (the keeper). Regime: pg, within a transaction, which holds the lock to its end.
//
// Order: the table's own lock first, then this one, then rows; so nobody who holds this waits for who waits for it. A clearing raises
// the database's epoch while it holds the lock, and again when it commits, before the lock goes. So what the keeper had in hand is
// either in the table before rows are deleted, and deleted with them, or is found stale by the keeper once it has the lock. SQL cannot
// take this lock but through the cache: it is no advisory lock.
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

// Waits until no keeper is writing, and keeps others from it.
inline void lock_cache_for_clearing(Oid table) {
    const LOCKTAG tag = cache_lock_of(table);
    (void)LockAcquire(&tag, ExclusiveLock, false, false);
}

// False if somebody clears the cache now, or waits to: a keeper has other work to do meanwhile.
[[nodiscard]] inline bool lock_cache_for_writing(Oid table) {
    const LOCKTAG tag = cache_lock_of(table);
    LockRelationOid(table, RowExclusiveLock);
    return LockAcquire(&tag, ShareLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

// For the keeper's other tables, by name, which a restore holds for as long as it inserts: waits for at most lock_timeout. False if the table
// is not the extension's: then nothing is to be touched.
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
