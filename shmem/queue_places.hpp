// How many places of a database's async queue each role holds, and all roles together. steadytext.queue_max_length and
// steadytext.queue_max_per_role limit these numbers.
//
// Part of a DatabaseRow. A session reserves a place when it adds a request. At the end of its transaction the place
// becomes a request in the queue, or is given back. The queue worker counts the requests that end, and every few
// seconds corrects the counts from the table. Regime: pure, lock-free, noexcept.
//
// A role takes an entry with its first request. The worker frees an entry that counts nothing. A session that counts
// into the entry at that very moment counts for the next role that takes the entry, until the worker counts anew. When
// all entries are taken, the remaining roles share the last entry, and so share its limit.
#pragma once

#include "shmem/atomic.hpp"

#include <cstddef>
#include <cstdint>

namespace steadytext::shmem {

struct QueuePlaces {
    static constexpr std::size_t kRoles = 64;

    struct Entry {
        std::atomic<std::uint32_t> role{0};     // 0: free. acq_rel compare-and-swap: pairs with itself in of()
        std::atomic<std::int32_t> length{0};    // requests that are committed and have not ended
        std::atomic<std::int32_t> reserved{0};  // requests of transactions under way

        [[nodiscard]] std::int64_t held() const noexcept { return std::int64_t{length.load()} + reserved.load(); }
    };

    std::atomic<std::int64_t> length{0};
    std::atomic<std::int64_t> reserved{0};
    Entry roles[kRoles];

    [[nodiscard]] std::int64_t held() const noexcept { return length.load() + reserved.load(); }

    // The role's entry; takes an entry if the role has none. Looks through all entries first, as an entry before the
    // role's own may have become free.
    [[nodiscard]] Entry &of(std::uint32_t role) noexcept {
        for (Entry &entry : roles)
            if (entry.role.load(std::memory_order_acquire) == role)
                return entry;
        for (std::size_t i = 0; i + 1 < kRoles; i++) {
            std::uint32_t found = 0;
            if (roles[i].role.compare_exchange_strong(found, role) || found == role)
                return roles[i];
        }
        return roles[kRoles - 1];
    }

    void reserve(std::uint32_t role, std::int32_t count) noexcept {
        of(role).reserved.fetch_add(count);
        reserved.fetch_add(count);
    }
    void give_back(std::uint32_t role, std::int32_t count) noexcept { reserve(role, -count); }
    // Adds requests that were reserved; a negative count removes requests that have ended.
    void add(std::uint32_t role, std::int32_t count) noexcept {
        of(role).length.fetch_add(count);
        length.fetch_add(count);
    }
    // The queue is gone. Transactions in progress give back their own reservations.
    void forget() noexcept {
        length.store(0);
        for (Entry &entry : roles)
            entry.length.store(0);
    }
    // The worker has counted `counted` in the table, where the count was `before`. Changes since then stay.
    static void correct(std::atomic<std::int32_t> &count, std::int32_t before, std::int64_t counted) noexcept {
        count.fetch_add(static_cast<std::int32_t>(counted) - before);
    }
};

}  // namespace steadytext::shmem
