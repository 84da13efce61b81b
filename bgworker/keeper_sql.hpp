// What a keeper writes: batches of cache records, hits, eviction. Called by bgworker/keeper_main.cpp, inside a transaction
// with SPI connected. Regime: pg: an ERROR ends the transaction, and with it the batch.
#pragma once

#include "src/pg/postgres.hpp"
#include "shmem/segment.hpp"

namespace steadytext::worker {

// Records a keeper has taken and not yet settled.
struct TakenWrites {
    static constexpr std::uint32_t kMost = 256;
    std::uint32_t indexes[kMost];
    std::uint32_t count = 0;
};

// A transaction's first act. What it changes in the table goes on being answered from shared memory, unlike what others
// change by hand. False if this database has no such table: then there is nothing to do.
[[nodiscard]] bool begin_quietly();

// Writes the records, leaving out stale and damaged ones, and those with characters that the database's encoding lacks, which it counts.
// False if somebody clears the cache: then nothing was written.
[[nodiscard]] bool write_records(const shmem::CacheWrites &writes, const TakenWrites &taken);

// Adds the hits counted in shared memory to their rows; returns how many rows had some.
std::int64_t fold_hits(shmem::HotCache *hot_cache, Oid database);

// The daemons as the gateway sees them, into steadytext_daemon_health.
void write_health();

// Expired rows, rows beyond the limits, and the ledger's length.
void evict_and_tidy();

// Deletes up to a page of rows of steadytext_usage, and of steadytext_audit_log, that are older than steadytext.usage_retention and _audit_retention.
// True: there may be more.
[[nodiscard]] bool delete_old();

}  // namespace steadytext::worker
