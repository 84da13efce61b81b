// What every structure in shared memory may assume about atomics, checked once.
//
// Used by all of shmem/. Regime: pure. An atomic that takes a lock would keep that lock in one process's memory,
// which is no lock at all between processes; so anything not always lock-free does not compile.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace steadytext::shmem {

inline constexpr std::size_t kCacheLine = 64;

static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
static_assert(std::atomic<std::int64_t>::is_always_lock_free);
static_assert(std::atomic<std::uint32_t>::is_always_lock_free);
static_assert(std::atomic<std::int32_t>::is_always_lock_free);

[[nodiscard]] constexpr std::size_t round_up(std::size_t bytes, std::size_t unit = kCacheLine) noexcept {
    return (bytes + unit - 1) / unit * unit;
}

}  // namespace steadytext::shmem
