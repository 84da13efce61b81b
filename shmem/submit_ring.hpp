// The way from sessions to the gateway: a lock-free queue of slot indexes (Boost.Lockfree).
//
// Sessions push after publishing a slot, the gateway pops. Regime: pure.
//
// The ring carries hints; the slot table is the truth. That matters, because Boost's free list tags its nodes with 16
// bits: a session stopped in the middle of a push while exactly k·65,536 others pass could damage it. A hint that is
// lost or refused costs the request one sweep of the gateway (at most kSweepInterval), never an answer.
#pragma once

#include "shmem/atomic.hpp"

#include <boost/lockfree/queue.hpp>

namespace steadytext::shmem {

// Room for stale hints beside one for each slot: abandoned slots leave theirs behind until popped.
inline constexpr std::size_t kMaxSlots = 4096;
inline constexpr std::size_t kRingCapacity = 2 * kMaxSlots;

class SubmitRing {
public:
    // Boost falls back to locks where it finds no suitable atomics; a lock in one process's memory is none for another.
    [[nodiscard]] bool is_lock_free() const noexcept { return queue_.is_lock_free(); }
    [[nodiscard]] bool push(std::uint32_t slot) noexcept { return queue_.bounded_push(slot); }
    [[nodiscard]] bool pop(std::uint32_t &slot) noexcept { return queue_.pop(slot); }

private:
    boost::lockfree::queue<std::uint32_t, boost::lockfree::capacity<kRingCapacity>> queue_;
};

}  // namespace steadytext::shmem
