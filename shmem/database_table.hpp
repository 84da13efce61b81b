// The databases whose sessions use the cache: what each one's keeper has to do, and what it did.
//
// Sessions find or take their database's row; the launcher starts a keeper for a row with work; the keeper says what it
// did. Regime: pure, lock-free, noexcept. A row belongs to its database until the server restarts.
#pragma once

#include "shmem/atomic.hpp"
#include "src/core/clock.hpp"

#include <cstddef>
#include <cstdint>

namespace steadytext::shmem {

struct alignas(kCacheLine) DatabaseRow {
    std::atomic<std::uint32_t> oid{0};  // 0: free. acq_rel compare-and-swap: pairs with itself in of()

    // The keeper, written by itself.
    std::atomic<std::int32_t> keeper_pid{0};  // 0: none
    std::atomic<std::int32_t> keeper_proc_number{-1};
    std::atomic<std::uint32_t> keeper_failures{0};  // transactions that failed in a row

    std::atomic<std::uint32_t> pending_writes{0};
    std::atomic<std::uint32_t> pending_audit{0};
    // Refreshes asked for and done by number: one asked for as number n has been done once `done` >= n.
    // release on `done`: pairs with the waiter's acquire, who then sees what it did.
    std::atomic<std::uint64_t> refreshes_wanted{0};
    std::atomic<std::uint64_t> refreshes_done{0};
    std::atomic<std::int64_t> refreshed_us{0};     // CLOCK_MONOTONIC; at first when the row was taken
    std::atomic<std::int64_t> refresh_took_us{0};  // 0: there was none yet
    std::atomic<std::int64_t> rows_refreshed{0};   // by the last one
    std::atomic<std::uint64_t> hits_refreshed{0};  // hits() when the last one began

    // What was seen of the daemons (DaemonTable::outlook) when the keeper last wrote steadytext_daemon_health.
    std::atomic<std::uint64_t> health_standing{0};
    std::atomic<std::uint64_t> health_traffic{0};
    std::atomic<std::int64_t> health_us{0};  // CLOCK_MONOTONIC; 0: not yet

    // Since when there is usage of this database that its table does not have (shmem/usage.hpp); 0: there is none.
    std::atomic<std::int64_t> usage_since_us{0};
    void note_usage() noexcept {
        if (usage_since_us.load() != 0)
            return;
        std::int64_t none = 0;
        (void)usage_since_us.compare_exchange_strong(none, core::monotonic_us());
    }

    std::atomic<std::uint64_t> incidents_seen{0};  // the last event its table has (shmem/incidents.hpp)
    // The async queue. Sessions count up what they add, cancel and requeue, at commit; the worker says how far it has looked.
    std::atomic<std::int32_t> queue_pid{0};  // of the queue worker; 0: none
    std::atomic<std::int32_t> queue_proc_number{-1};
    std::atomic<std::uint32_t> queue_failures{0};    // transactions that failed in a row
    std::atomic<std::uint64_t> queue_changes{0};     // release: pairs with the worker's acquire before it looks
    std::atomic<std::uint64_t> queue_seen{0};        // all changes up to this one
    std::atomic<std::uint64_t> queue_cancels{0};     // of them, those that end jobs
    std::atomic<std::int64_t> queue_due_us{0};       // CLOCK_MONOTONIC, when a job put off is due while no worker runs; 0: none is
    std::atomic<std::int64_t> queue_length{0};       // jobs pending or under way, as of the last count and what came since
    std::atomic<std::int64_t> queue_oldest_us{0};    // CLOCK_REALTIME, when the oldest pending was added; 0: there is none

    void count(std::uint32_t who, bool hit) noexcept {
        Lookups &mine = lookups_[who % kShards];
        (hit ? mine.hits : mine.misses).fetch_add(1, std::memory_order_relaxed);
    }
    [[nodiscard]] std::uint64_t hits() const noexcept { return sum(&Lookups::hits); }
    [[nodiscard]] std::uint64_t misses() const noexcept { return sum(&Lookups::misses); }

private:
    static constexpr std::size_t kShards = 8;
    struct alignas(kCacheLine) Lookups {
        std::atomic<std::uint64_t> hits{0};
        std::atomic<std::uint64_t> misses{0};
    };
    [[nodiscard]] std::uint64_t sum(std::atomic<std::uint64_t> Lookups::*member) const noexcept {
        std::uint64_t total = 0;
        for (const Lookups &shard : lookups_)
            total += (shard.*member).load(std::memory_order_relaxed);
        return total;
    }
    Lookups lookups_[kShards];
};

struct DatabaseTable {
    static constexpr std::uint32_t kRows = 128;
    static constexpr std::uint32_t kNone = UINT32_MAX;
    DatabaseRow rows[kRows];

    // The row of a database, taken if it has none yet; kNone if all belong to others: then nothing is kept for it.
    [[nodiscard]] std::uint32_t of(std::uint32_t oid) noexcept {
        for (std::uint32_t i = 0; i < kRows; i++) {
            std::uint32_t found = rows[i].oid.load(std::memory_order_acquire);
            if (found == 0 && rows[i].oid.compare_exchange_strong(found, oid)) {
                rows[i].refreshed_us.store(core::monotonic_us(), std::memory_order_relaxed);
                return i;
            }
            if (found == oid)
                return i;
        }
        return kNone;
    }
};

}  // namespace steadytext::shmem
