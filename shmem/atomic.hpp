// Checks once the facts about atomics that every structure in shared memory relies on.
//
// Used by all of shmem/. Regime: pure. If an atomic is not lock-free, its lock lies in the memory of a single
// process and does not exclude other processes. So any atomic that is not always lock-free does not compile.
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
