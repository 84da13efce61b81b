// The databases whose sessions use the extension: the pending work for the workers of each database, and the work they
// did.
//
// Sessions find or take the row of their database. The launcher starts workers for a row with work. A worker writes
// down what it did. Regime: pure, noexcept; only taking and freeing a row hold a lock (spin_word.hpp).
//
// A row belongs to its database until the launcher frees it, after the database is gone (bgworker/databases.*). Nobody
// is connected to such a database, so a session's index of a row never comes to mean another database. A process that
// is not connected to the database (the launcher, a worker that is starting) names it by its OID and calls find().
// Records on their way to tables also carry the OID.
#pragma once

#include "shmem/atomic.hpp"
#include "shmem/queue_places.hpp"
#include "shmem/spin_word.hpp"
#include "src/core/clock.hpp"

#include <cstddef>
#include <cstdint>
#include <new>

namespace steadytext::shmem {

// The state of a database; a database that takes the row starts with a new state.
struct alignas(kCacheLine) DatabaseState {
    // The keeper, written by itself.
    std::atomic<std::int32_t> keeper_pid{0};  // 0: none
    std::atomic<std::int32_t> keeper_proc_number{-1};
    std::atomic<std::uint32_t> keeper_failures{0};  // transactions that failed in a row

    std::atomic<std::uint32_t> pending_writes{0};
    std::atomic<std::uint32_t> pending_audit{0};
    // Rows that steadytext_audit_log misses: those of which the keeper has not yet written there, since when, and all.
    std::atomic<std::uint32_t> audit_missing{0};
    std::atomic<std::int64_t> audit_missing_since_us{0};  // CLOCK_MONOTONIC; 0: there are none to write of
    std::atomic<std::uint64_t> audit_missing_total{0};
    void note_audit_missing() noexcept {
        audit_missing_total.fetch_add(1);
        audit_missing.fetch_add(1);
        std::int64_t none = 0;
        if (audit_missing_since_us.load() == 0)
            (void)audit_missing_since_us.compare_exchange_strong(none, core::monotonic_us());
    }
    // Refreshes are numbered: refresh n is done when `done` >= n.
    // release on `done`: pairs with the acquire of the waiting session, which then sees the effect of the refresh.
    std::atomic<std::uint64_t> refreshes_wanted{0};
    std::atomic<std::uint64_t> refreshes_done{0};
    std::atomic<std::int64_t> refreshed_us{0};     // CLOCK_MONOTONIC; at first when the row was taken
    std::atomic<std::int64_t> refresh_took_us{0};  // 0: there was no refresh yet
    std::atomic<std::int64_t> rows_refreshed{0};   // by the last refresh
    std::atomic<std::uint64_t> hits_refreshed{0};  // hits() when the last refresh began

    // The outlook on the daemons (DaemonTable::outlook) when the keeper last wrote steadytext_daemon_health.
    std::atomic<std::uint64_t> health_standing{0};
    std::atomic<std::uint64_t> health_traffic{0};
    std::atomic<std::int64_t> health_us{0};  // CLOCK_MONOTONIC; 0: not yet
    std::atomic<bool> health_wanted{true};   // false: the keeper found no extension, and nothing was requested since

    // Since when shmem/usage.hpp holds usage of this database that its table does not have; 0: it holds none.
    std::atomic<std::int64_t> usage_since_us{0};
    void note_usage() noexcept {
        if (usage_since_us.load() != 0)
            return;
        std::int64_t none = 0;
        (void)usage_since_us.compare_exchange_strong(none, core::monotonic_us());
    }

    // On a standby: the number of the primary's clears (src/session/cache_clears.hpp) up to which the cache is cleared
    // here; -1: not known. release: pairs with the acquire of a session that compares it.
    std::atomic<std::int64_t> clears_heard{-1};

    std::atomic<std::uint64_t> incidents_seen{0};  // the last event its table has (shmem/incidents.hpp)

    // On a standby, the way to the hub, written by the hub worker (bgworker/hub_main.cpp).
    std::atomic<std::int64_t> hub_answered_us{0};    // CLOCK_MONOTONIC, when the hub last answered; 0: not yet
    std::atomic<std::int64_t> hub_away_since_us{0};  // CLOCK_MONOTONIC, since when it does not; 0: it does
    std::atomic<std::uint32_t> hub_sqlstate{0};      // why, as PostgreSQL packs an SQLSTATE; 0: nothing is wrong
    std::atomic<bool> hub_connected{false};

    // The async queue. At commit, sessions count the jobs they added, cancelled and requeued. The worker writes how far
    // it has looked.
    std::atomic<std::int32_t> queue_pid{0};  // of the queue worker; 0: none
    std::atomic<std::int32_t> queue_proc_number{-1};
    std::atomic<std::uint32_t> queue_failures{0};  // transactions that failed in a row
    std::atomic<std::uint64_t> queue_changes{0};   // release: pairs with the worker's acquire before it looks
    std::atomic<std::uint64_t> queue_seen{0};      // all changes up to this number
    std::atomic<std::uint64_t> queue_cancels{0};   // of these changes, the number that end jobs
    // CLOCK_MONOTONIC, when a postponed job is due while no worker runs; 0: none is
    std::atomic<std::int64_t> queue_due_us{0};
    // jobs pending or in progress: the last count, and the changes since then
    QueuePlaces queue_places;
    // CLOCK_REALTIME, when the oldest pending job was added; 0: there is none
    std::atomic<std::int64_t> queue_oldest_us{0};

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

struct alignas(kCacheLine) DatabaseRow : DatabaseState {
    std::atomic<std::uint32_t> oid{0};  // 0: free. release in of() and free_row(): pairs with the acquire in find()
};

class alignas(kCacheLine) DatabaseTable {
public:
    static constexpr std::uint32_t kNone = UINT32_MAX;

    [[nodiscard]] static std::size_t bytes_needed(std::uint32_t count) noexcept {
        return sizeof(DatabaseTable) + std::size_t{count} * sizeof(DatabaseRow);
    }
    // Once, before any other process sees the memory.
    static DatabaseTable *place(void *memory, std::uint32_t count) noexcept {
        auto *table = new (memory) DatabaseTable(count);
        for (DatabaseRow &row : *table)
            new (&row) DatabaseRow;
        return table;
    }

    [[nodiscard]] std::uint32_t size() const noexcept { return count_; }
    [[nodiscard]] DatabaseRow &operator[](std::uint32_t index) noexcept { return begin()[index]; }
    // All rows, free rows included.
    [[nodiscard]] DatabaseRow *begin() noexcept { return reinterpret_cast<DatabaseRow *>(this + 1); }
    [[nodiscard]] DatabaseRow *end() noexcept { return begin() + count_; }

    // The row a database has; kNone: it has none.
    [[nodiscard]] std::uint32_t find(std::uint32_t oid) noexcept {
        for (std::uint32_t i = 0; i < count_; i++)
            if ((*this)[i].oid.load(std::memory_order_acquire) == oid)
                return i;
        return kNone;
    }

    // The row of a database; takes a row if it has none yet. kNone if all rows belong to other databases: then nothing
    // is kept for this database, and refused_us() tells the launcher.
    [[nodiscard]] std::uint32_t of(std::uint32_t oid) noexcept {
        if (const std::uint32_t found = find(oid); found != kNone)
            return found;
        const SpinHold hold(changing_);
        if (const std::uint32_t found = find(oid); found != kNone)
            return found;
        const std::uint32_t place = find(0);
        if (place == kNone) {
            refused_us_.store(core::monotonic_us(), std::memory_order_relaxed);
            return kNone;
        }
        DatabaseRow &row = (*this)[place];
        row.refreshed_us.store(core::monotonic_us(), std::memory_order_relaxed);
        row.oid.store(oid, std::memory_order_release);
        return place;
    }

    // Called by the launcher, once the database is gone and no work is left for it.
    void free_row(std::uint32_t index) noexcept {
        const SpinHold hold(changing_);
        DatabaseRow &row = (*this)[index];
        new (static_cast<DatabaseState *>(&row)) DatabaseState;
        row.oid.store(0, std::memory_order_release);
    }

    // CLOCK_MONOTONIC, when a database last found no row; 0: never, or not since forgive().
    [[nodiscard]] std::int64_t refused_us() const noexcept { return refused_us_.load(std::memory_order_relaxed); }
    void forgive() noexcept { refused_us_.store(0, std::memory_order_relaxed); }

private:
    explicit DatabaseTable(std::uint32_t count) noexcept : count_(count) {}

    std::uint32_t count_;
    std::atomic<std::int64_t> refused_us_{0};
    SpinWord changing_;
};

}  // namespace steadytext::shmem
