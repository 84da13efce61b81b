// How a standby hears of its primary's clears: a number in a table that each clear raises, and a message that it was.
//
// Called by src/functions/cache.cpp, within the transaction that clears, and by src/session/answer_cache.cpp before an
// answer is looked up. Regime: pg, within a transaction.
//
// On the primary a clear raises the number in _steadytext.cache_clears, and its commit invalidates that table's entry in
// the relation caches. PostgreSQL replays both: once the commit is visible on a standby, each session there gets the
// invalidation before its next statement. The session then reads the number; where shared memory has another, it raises
// the epoch of the database's cache and writes the number down. Messages of before a session began do not reach it, so it
// reads the number at its first call as well. So nothing depends on a message that nobody was there to hear.
//
// Clears of a database happen one after the other (src/pg/cache_lock.hpp), so nobody waits for the row longer than for
// the clear itself.
#pragma once

#include "src/pg/postgres.hpp"

#include <cstdint>

namespace steadytext::session {

// The number of clears that are committed, and this transaction's own; 0 if the table or its row is not there.
[[nodiscard]] std::int64_t clears();

// Raises the number and has standbys read it once this transaction, or subtransaction, is committed. The caller holds
// pg::lock_cache_for_clearing().
void announce_clear();

// On a standby: raises the epoch if the primary has cleared the cache since. After a promotion: raises all epochs once,
// as a clear that was replayed may not have been heard. Costs a comparison if there is nothing to be heard.
void heed_clears();

}  // namespace steadytext::session
