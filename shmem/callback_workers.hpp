// Places for callback workers: kMost in the whole server, and at most one at a time for a role in a database.
//
// A queue worker says which roles want a callback worker (shmem/worker_places.hpp). When it is a role's turn, which
// src/core/worker_turns.hpp decides, the launcher reserves a place and starts the callback worker, which gives the
// place up when it ends. If the worker never comes, the launcher gives the place up. Regime: pure, lock-free, noexcept.
#pragma once

#include "shmem/atomic.hpp"

namespace steadytext::shmem {

class CallbackWorkers {
public:
    static constexpr std::uint32_t kMost = 4;
    static constexpr std::uint32_t kNone = UINT32_MAX;
    static constexpr std::int64_t kPatienceUs = 10'000'000;  // for the worker of an earlier launcher to come

    // Called by the launcher. kNone: all places are taken, or the role already has a place in the database.
    [[nodiscard]] std::uint32_t reserve(std::uint32_t database, std::uint32_t role, std::int64_t now_us) noexcept {
        if (find(database, role) != kNone)
            return kNone;
        for (std::uint32_t i = 0; i < kMost; i++) {
            std::uint64_t free = 0;
            if (!places_[i].who.compare_exchange_strong(free, word(database, role), std::memory_order_acq_rel))
                continue;
            places_[i].since_us.store(now_us, std::memory_order_release);
            return i;
        }
        return kNone;
    }

    // The role's place.
    [[nodiscard]] std::uint32_t find(std::uint32_t database, std::uint32_t role) const noexcept {
        for (std::uint32_t i = 0; i < kMost; i++)
            if (places_[i].who.load(std::memory_order_acquire) == word(database, role))
                return i;
        return kNone;
    }
    // The database whose role has the place; 0: the place is free.
    [[nodiscard]] std::uint32_t database_of(std::uint32_t place) const noexcept {
        return static_cast<std::uint32_t>(places_[place].who.load(std::memory_order_acquire) >> 32);
    }
    [[nodiscard]] std::uint32_t role_of(std::uint32_t place) const noexcept {
        return static_cast<std::uint32_t>(places_[place].who.load(std::memory_order_acquire));
    }
    // Of the worker that has the place; 0: it has not come.
    [[nodiscard]] std::int32_t pid_of(std::uint32_t place) const noexcept {
        return places_[place].pid.load(std::memory_order_acquire);
    }
    // The place is reserved, and its worker has not come; is_overdue(): not for kPatienceUs.
    [[nodiscard]] bool is_awaited(std::uint32_t place) const noexcept {
        return database_of(place) != 0 && places_[place].pid.load(std::memory_order_acquire) == 0;
    }
    [[nodiscard]] bool is_overdue(std::uint32_t place, std::int64_t now_us) const noexcept {
        return is_awaited(place) && now_us - places_[place].since_us.load(std::memory_order_acquire) >= kPatienceUs;
    }

    // Called by the callback worker. False: it came too late, or the place belongs to another role.
    [[nodiscard]] bool come(std::uint32_t place, std::uint32_t database, std::uint32_t role,
                            std::int32_t pid) noexcept {
        if (place >= kMost || places_[place].who.load(std::memory_order_acquire) != word(database, role))
            return false;
        std::int32_t none = 0;
        return places_[place].pid.compare_exchange_strong(none, pid, std::memory_order_acq_rel);
    }
    void leave(std::uint32_t place, std::int32_t pid) noexcept {
        if (place < kMost && places_[place].pid.load(std::memory_order_acquire) == pid)
            give_up(place);
    }
    void set_proc_number(std::uint32_t place, std::int32_t number) noexcept {
        places_[place].proc_number.store(number);
    }
    [[nodiscard]] std::int32_t proc_number(std::uint32_t place) const noexcept {
        return places_[place].proc_number.load();
    }
    // Gives up a place whose worker ended before it came.
    void give_up(std::uint32_t place) noexcept {
        places_[place].proc_number.store(-1, std::memory_order_relaxed);
        places_[place].pid.store(0, std::memory_order_relaxed);
        places_[place].since_us.store(0, std::memory_order_relaxed);
        places_[place].who.store(0, std::memory_order_release);  // pairs with the acquire in reserve()
    }

private:
    static constexpr std::uint64_t word(std::uint32_t database, std::uint32_t role) {
        return std::uint64_t{database} << 32 | role;
    }
    struct Place {
        std::atomic<std::uint64_t> who{0};          // {database:32 | role:32}; 0: free
        std::atomic<std::int32_t> pid{0};           // 0: it has not come yet
        std::atomic<std::int32_t> proc_number{-1};  // for its latch; -1: it has not joined its database yet
        std::atomic<std::int64_t> since_us{0};      // CLOCK_MONOTONIC, when it was reserved
    };
    Place places_[kMost];
};

}  // namespace steadytext::shmem
