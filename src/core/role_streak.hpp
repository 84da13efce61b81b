// Whether failures in a row are one role's: then they say nothing of the daemon, as a role chooses what it asks. They
// hold back that role, and no other. Failures of two roles with no success between them are the daemon's.
//
// Lives in shared memory, in the daemon's row. Written by sessions, which find out whether they can read an answer; the
// gateway reads it. The gateway judges timeouts in the same way, with more memory (timeouts.hpp). Regime: pure. The
// fields are independent, and every combination of them is legal, so relaxed atomics suffice.
#pragma once

#include "src/core/breaker.hpp"

#include <atomic>
#include <cstdint>

namespace steadytext::core {

class RoleStreak {
public:
    // A request was answered.
    void worked() noexcept {
        if (first_.load(std::memory_order_relaxed) != 0)
            forget();
    }

    // The role's request failed. True: it counts against the daemon. `threshold` failures of one role in a row hold it
    // back for `recovery_us`.
    [[nodiscard]] bool is_the_daemons(std::uint32_t role, const BreakerSettings &settings,
                                      std::int64_t now_us) noexcept {
        std::uint32_t first = 0;
        if (!first_.compare_exchange_strong(first, role, std::memory_order_relaxed) && first != role)
            are_several_.store(true, std::memory_order_relaxed);
        else if (failures_.fetch_add(1, std::memory_order_relaxed) + 1 >= settings.threshold)
            held_until_us_.store(now_us + settings.recovery_us, std::memory_order_relaxed);
        return are_several_.load(std::memory_order_relaxed);
    }

    [[nodiscard]] bool holds_back(std::uint32_t role, std::int64_t now_us) const noexcept {
        return first_.load(std::memory_order_relaxed) == role &&
               now_us < held_until_us_.load(std::memory_order_relaxed);
    }

    void forget() noexcept {
        held_until_us_.store(0, std::memory_order_relaxed);
        failures_.store(0, std::memory_order_relaxed);
        are_several_.store(false, std::memory_order_relaxed);
        first_.store(0, std::memory_order_relaxed);
    }

private:
    std::atomic<std::uint32_t> first_{0};         // the role whose failure was the first in a row; 0: none failed
    std::atomic<std::uint32_t> failures_{0};      // its failures in a row
    std::atomic<std::int64_t> held_until_us_{0};  // CLOCK_MONOTONIC
    std::atomic<bool> are_several_{false};        // another role's followed
};

}  // namespace steadytext::core
