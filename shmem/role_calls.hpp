// Calls and failed calls by role, precise enough to tell failures of the server from failures of a single role.
//
// Sessions count when a call ends that no cache answered (src/session/observe.cpp). The launcher reads, and opens
// incidents (bgworker/incident_watch.cpp). Regime: pure, noexcept; relaxed atomics, independent of each other.
//
// A hash tells roles apart. Two roles with the same hash count as one role: this hides at worst a failure of both,
// until a third role has it too.
#pragma once

#include "shmem/atomic.hpp"

#include <array>

namespace steadytext::shmem {

struct RoleCalls {
    static constexpr std::size_t kPlaces = 32;

    struct alignas(kCacheLine) Place {
        std::atomic<std::uint64_t> asked{0};
        std::atomic<std::uint64_t> failed{0};
        std::atomic<std::uint32_t> role{0};  // that called last
    };
    std::array<Place, kPlaces> places;

    void count(std::uint32_t role, bool has_failed) noexcept {
        Place &place = places[(role * 2'654'435'761U) >> 27];
        place.asked.fetch_add(1, std::memory_order_relaxed);
        if (place.role.load(std::memory_order_relaxed) != role)
            place.role.store(role, std::memory_order_relaxed);
        if (has_failed)
            place.failed.fetch_add(1, std::memory_order_relaxed);
    }
};

}  // namespace steadytext::shmem
