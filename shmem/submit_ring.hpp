// The way from sessions to the gateway: a lock-free queue of slot indexes (Boost.Lockfree).
//
// Sessions push after they publish a slot, the gateway pops. Regime: pure.
//
// The ring carries hints; the slot table is the truth. This matters because Boost's free list tags its nodes with 16
// bits: a session stopped in the middle of a push while exactly k·65,536 others pass could damage the ring. A lost or
// refused hint delays the request until the gateway's next sweep (there are ten a second), and never loses an answer.
#pragma once

#include "shmem/atomic.hpp"

#include <boost/lockfree/queue.hpp>

namespace steadytext::shmem {

// Room for a hint for each slot, and as much for stale hints: the hint of an abandoned slot stays until it is popped.
inline constexpr std::size_t kMaxSlots = 4096;
inline constexpr std::size_t kRingCapacity = 2 * kMaxSlots;

class SubmitRing {
public:
    // Boost falls back to locks where it finds no suitable atomics; a lock in the memory of a single process does not
    // exclude other processes.
    [[nodiscard]] bool is_lock_free() const noexcept { return queue_.is_lock_free(); }
    [[nodiscard]] bool push(std::uint32_t slot) noexcept { return queue_.bounded_push(slot); }
    [[nodiscard]] bool pop(std::uint32_t &slot) noexcept { return queue_.pop(slot); }

private:
    boost::lockfree::queue<std::uint32_t, boost::lockfree::capacity<kRingCapacity>> queue_;
};

}  // namespace steadytext::shmem
