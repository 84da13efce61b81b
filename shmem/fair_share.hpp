// How much of what all roles need one of them may hold: request slots, payload memory, a daemon's attention.
//
// Asked by sessions (src/session/call.cpp), by the gateway for replies (bgworker/flights.cpp), and for engine slots by
// src/core/turns.hpp. Regime: pure, noexcept.
//
// The rule is that of dynamic thresholds in packet switches (Choudhury and Hahne 1998): a role may hold kTimes as many as are free.
// A role that is alone so gets three quarters and leaves one; of n greedy roles each gets 3/(3n+1), and there is always something
// free for a role that comes next. Nothing is set aside for anybody in particular, and nothing has to be configured. Who holds nothing
// gets what is free, however little.
#pragma once

#include <cstdint>

namespace steadytext::shmem {

struct FairShare {
    static constexpr std::uint64_t kTimes = 3;

    // May a role that holds so many take `more`, when `in_use` of `size` are held by all roles together?
    [[nodiscard]] static constexpr bool allows(std::uint64_t held, std::uint64_t more, std::uint64_t in_use, std::uint64_t size) noexcept {
        if (in_use + more > size)
            return false;
        return held == 0 || held + more <= kTimes * (size - in_use - more);
    }

    // Is it allowed to whoever asks? Then nobody's holdings need to be counted, which is most of the time.
    [[nodiscard]] static constexpr bool allows_anyone(std::uint64_t more, std::uint64_t in_use, std::uint64_t size) noexcept {
        return in_use + more <= size && in_use + more <= kTimes * (size - in_use - more);
    }
};

}  // namespace steadytext::shmem
