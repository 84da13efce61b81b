// The databases whose sessions use the extension: what each one's workers have to do, and what they did.
//
// Sessions find or take their database's row; the launcher starts workers for a row with work; a worker says what it did.
// Regime: pure, noexcept; only taking and freeing a row hold a lock (spin_word.hpp).
//
// A row belongs to its database until the launcher frees it, which it does once the database is gone (bgworker/databases.*):
// nobody is connected to such a database, so that no session's index of a row comes to mean another database. Whoever is not
// connected to the database (the launcher, a worker on its way in) names it by its OID and asks find(). Records on their way to
// tables carry the OID too.
#pragma once

#include "shmem/atomic.hpp"
#include "shmem/queue_places.hpp"
#include "shmem/spin_word.hpp"
#include "src/core/clock.hpp"

#include <cstddef>
#include <cstdint>
#include <new>

namespace steadytext::shmem {

// All that is known of a database; begins anew with each database that takes the row.
struct alignas(kCacheLine) DatabaseState {
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
    std::atomic<bool> health_wanted{true};   // false: its keeper found no extension, and nothing was asked since

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
    QueuePlaces queue_places;                        // jobs pending or under way, as of the last count and what came since
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
    // All rows, the free ones among them.
    [[nodiscard]] DatabaseRow *begin() noexcept { return reinterpret_cast<DatabaseRow *>(this + 1); }
    [[nodiscard]] DatabaseRow *end() noexcept { return begin() + count_; }

    // The row a database has; kNone: it has none.
    [[nodiscard]] std::uint32_t find(std::uint32_t oid) noexcept {
        for (std::uint32_t i = 0; i < count_; i++)
            if ((*this)[i].oid.load(std::memory_order_acquire) == oid)
                return i;
        return kNone;
    }

    // The row of a database, taken if it has none yet. kNone if all belong to others: then nothing is kept for it, and the launcher
    // is told by refused().
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

    // The launcher, once the database is gone and nothing is left to be done for it.
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
