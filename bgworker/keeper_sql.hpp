// A keeper's statements: batches of cache records, hits, eviction. Called by bgworker/keeper_main.cpp, inside a
// transaction with SPI connected. Regime: pg: an ERROR ends the transaction, and with it the batch.
#pragma once

#include "src/pg/postgres.hpp"
#include "shmem/segment.hpp"

namespace steadytext::worker {

// Records that a keeper has taken and not yet settled.
struct TakenWrites {
    static constexpr std::uint32_t kMost = 256;
    std::uint32_t indexes[kMost];
    std::uint32_t count = 0;
};

// Call first in a transaction. Then the hot cache keeps answers whose rows the keeper changes; changes by hand remove
// them. False if this database has no such table: then there is nothing to do.
[[nodiscard]] bool begin_quietly();

// Writes the records, except stale and damaged records, and records with characters that the database's encoding lacks,
// which it counts. False if a session clears the cache: then nothing was written.
[[nodiscard]] bool write_records(const shmem::CacheWrites &writes, const TakenWrites &taken);

// Adds the hits counted in shared memory to their rows; returns how many rows had hits.
std::int64_t fold_hits(shmem::HotCache *hot_cache, Oid database);

// Writes the daemons, as the gateway sees them, into steadytext_daemon_health.
void write_health();

// Removes expired rows and rows beyond the limits, and compacts the ledger.
void evict_and_tidy();

// Deletes up to a page of rows of steadytext_usage, and of steadytext_audit_log, that are older than
// steadytext.usage_retention and _audit_retention. True: there may be more.
[[nodiscard]] bool delete_old();

}  // namespace steadytext::worker
