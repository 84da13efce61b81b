// Whose calls fail: asked and failed, by role, as far as it takes to tell the server's failures from one role's own.
//
// Counted by sessions when a call ends that no cache answered (src/session/observe.cpp), read by the launcher, which opens incidents
// (bgworker/incident_watch.cpp). Regime: pure, noexcept; relaxed atomics, each number stands for itself.
//
// Roles are told apart by a hash: two that meet in one place count as one, which hides a failure of theirs at worst until a third
// role has it too.
#pragma once

#include "shmem/atomic.hpp"

#include <array>

namespace steadytext::shmem {

struct RoleCalls {
    static constexpr std::size_t kPlaces = 32;

    struct alignas(kCacheLine) Place {
        std::atomic<std::uint64_t> asked{0};
        std::atomic<std::uint64_t> failed{0};
    };
    std::array<Place, kPlaces> places;

    void count(std::uint32_t role, bool has_failed) noexcept {
        Place &place = places[(role * 2'654'435'761U) >> 27];
        place.asked.fetch_add(1, std::memory_order_relaxed);
        if (has_failed)
            place.failed.fetch_add(1, std::memory_order_relaxed);
    }
};

}  // namespace steadytext::shmem
