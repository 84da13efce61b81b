// How much of a shared resource a role may hold: request slots, payload memory, a daemon's attention.
//
// Called by sessions (src/session/room.cpp, and usage.cpp for entries), by waiting_line.cpp, by audit_ring.cpp for
// databases and their roles, by the gateway for replies (bgworker/flights.cpp), and for engine slots by
// src/core/turns.hpp. Regime: pure, noexcept.
//
// The rule is that of dynamic thresholds in packet switches (Choudhury and Hahne 1998): a role may hold kTimes as much
// as is free. So a single role gets three quarters and leaves a quarter; each of n greedy roles gets 3/(3n+1), and
// there is always something free for the next role. Nothing is reserved for a particular role, and nothing has to be
// configured. A role that holds nothing gets what it asks for, if it is free.
#pragma once

#include <cstdint>

namespace steadytext::core {

struct FairShare {
    static constexpr std::uint64_t kTimes = 3;

    // May a role that holds `held` take `more`, when all roles together hold `in_use` of `size`?
    [[nodiscard]] static constexpr bool allows(std::uint64_t held, std::uint64_t more, std::uint64_t in_use,
                                               std::uint64_t size) noexcept {
        if (in_use + more > size)
            return false;
        return held == 0 || held + more <= kTimes * (size - in_use - more);
    }

    // How much a role may hold in all, by allows(), while the others hold `held_by_others`.
    [[nodiscard]] static constexpr std::uint64_t most(std::uint64_t held_by_others, std::uint64_t size) noexcept {
        return kTimes * (size - held_by_others) / (kTimes + 1);
    }

    // May every role take it? Then nobody's holdings need to be counted. This is the usual case.
    [[nodiscard]] static constexpr bool allows_anyone(std::uint64_t more, std::uint64_t in_use,
                                                      std::uint64_t size) noexcept {
        return in_use + more <= size && in_use + more <= kTimes * (size - in_use - more);
    }
};

}  // namespace steadytext::core
