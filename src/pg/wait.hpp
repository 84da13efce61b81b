// Waiting on the latch of this process, with a deadline.
//
// Called by src/session, src/functions, src/queue and bgworker. Regime: pg.
//
// A set latch says that something may have changed, no more. So the caller looks, waits if there is nothing to do, and
// looks again. No change is missed: a change between the look and the wait sets the latch, and then the wait returns at
// once.
#pragma once

#include "src/pg/compat.hpp"
#include "src/core/clock.hpp"

#include <algorithm>

namespace steadytext::pg {

// A wait event by its name in pg_stat_activity. The name is registered with PostgreSQL at the first wait.
class WaitEvent {
public:
    constexpr explicit WaitEvent(const char *name) : name_(name) {}
    [[nodiscard]] uint32 id() {
        if (id_ == 0)
            id_ = wait_event(name_);
        return id_;
    }

private:
    const char *name_;
    uint32 id_ = 0;
};

// Returns when the latch is set, or at `until_us` (CLOCK_MONOTONIC). Interrupts are left to the caller.
inline void sleep_until(std::int64_t until_us, WaitEvent &event) {
    const std::int64_t left_us = std::max<std::int64_t>(until_us - core::monotonic_us(), 0);
    const auto left_ms = static_cast<long>((left_us + 999) / 1000);
    (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, left_ms, event.id());
    ResetLatch(MyLatch);
}

// The same with interrupts served, and after a second at the latest: the process that would set the latch may have been
// restarted. Returns false, without a wait, at `until_us` or later.
inline bool wait_until(std::int64_t until_us, WaitEvent &event) {
    const std::int64_t now_us = core::monotonic_us();
    if (now_us >= until_us)
        return false;
    sleep_until(std::min(until_us, now_us + 1'000'000), event);
    CHECK_FOR_INTERRUPTS();
    return true;
}

}  // namespace steadytext::pg
