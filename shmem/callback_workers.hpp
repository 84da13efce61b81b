// Places for callback workers: kMost in the whole server, and at most one at a time for a role in a database.
//
// A queue worker reserves a place for a role and has a callback worker started; the callback worker gives the place up
// when it ends. If the worker never comes, the queue worker, or the next queue worker of the same database, gives the
// place up. Regime: pure, lock-free, noexcept.
#pragma once

#include "shmem/atomic.hpp"

namespace steadytext::shmem {

class CallbackWorkers {
public:
    static constexpr std::uint32_t kMost = 4;
    static constexpr std::uint32_t kNone = UINT32_MAX;
    static constexpr std::int64_t kPatienceUs = 10'000'000;  // for a worker to come

    // kNone: all places are taken, or the role already has a place, or the database has all places but one. Only the
    // queue worker of the database reserves.
    [[nodiscard]] std::uint32_t reserve(std::uint32_t database, std::uint32_t role, std::int64_t now_us) noexcept {
        if (find(database, role, now_us) != kNone || held_by(database) >= kMost - 1)
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

    // The role's place. A place whose worker did not come in kPatienceUs is given up.
    [[nodiscard]] std::uint32_t find(std::uint32_t database, std::uint32_t role, std::int64_t now_us) noexcept {
        for (std::uint32_t i = 0; i < kMost; i++) {
            if (places_[i].who.load(std::memory_order_acquire) != word(database, role))
                continue;
            const std::int64_t since_us = places_[i].since_us.load(std::memory_order_acquire);
            if (places_[i].pid.load() != 0 || since_us == 0 || now_us - since_us < kPatienceUs)
                return i;
            give_up(i);
        }
        return kNone;
    }

    // Called by the callback worker. False: it came too late, or the place belongs to another role.
    [[nodiscard]] bool come(std::uint32_t place, std::uint32_t database, std::uint32_t role, std::int32_t pid) noexcept {
        if (place >= kMost || places_[place].who.load(std::memory_order_acquire) != word(database, role))
            return false;
        std::int32_t none = 0;
        return places_[place].pid.compare_exchange_strong(none, pid, std::memory_order_acq_rel);
    }
    void leave(std::uint32_t place, std::int32_t pid) noexcept {
        if (place < kMost && places_[place].pid.load(std::memory_order_acquire) == pid)
            give_up(place);
    }
    void set_proc_number(std::uint32_t place, std::int32_t number) noexcept { places_[place].proc_number.store(number); }
    [[nodiscard]] std::int32_t proc_number(std::uint32_t place) const noexcept { return places_[place].proc_number.load(); }
    // Gives up a place whose worker ended before it came.
    void give_up(std::uint32_t place) noexcept {
        places_[place].proc_number.store(-1, std::memory_order_relaxed);
        places_[place].pid.store(0, std::memory_order_relaxed);
        places_[place].since_us.store(0, std::memory_order_relaxed);
        places_[place].who.store(0, std::memory_order_release);  // pairs with the acquire in reserve()
    }
    // If all places are taken, other roles may be waiting.
    [[nodiscard]] bool is_full() const noexcept {
        for (const Place &place : places_)
            if (place.who.load(std::memory_order_relaxed) == 0)
                return false;
        return true;
    }

private:
    [[nodiscard]] std::uint32_t held_by(std::uint32_t database) const noexcept {
        std::uint32_t count = 0;
        for (const Place &place : places_)
            count += place.who.load(std::memory_order_relaxed) >> 32 == database;
        return count;
    }
    static constexpr std::uint64_t word(std::uint32_t database, std::uint32_t role) { return std::uint64_t{database} << 32 | role; }
    struct Place {
        std::atomic<std::uint64_t> who{0};      // {database:32 | role:32}; 0: free
        std::atomic<std::int32_t> pid{0};       // 0: it has not come yet
        std::atomic<std::int32_t> proc_number{-1};  // for its latch; -1: it has not joined its database yet
        std::atomic<std::int64_t> since_us{0};  // CLOCK_MONOTONIC; 0: about to be set
    };
    Place places_[kMost];
};

}  // namespace steadytext::shmem
