// A lock of a single word, to be held for less than a microsecond: no system call, no copy of a value whose size the
// caller chooses, nothing that can raise.
//
// Used by single_flight.*, statement_stats.*, rate_limiter.*, usage.*, waiting_line.* and database_table.hpp. Regime:
// pure, noexcept. Sessions' signal handlers only set flags, so an ERROR or a FATAL never happens while the lock is
// held. A process killed while it holds the lock needs no recovery, as PostgreSQL then makes all shared memory anew.
// While a holder has lost its processor, waiters yield.
#pragma once

#include "shmem/atomic.hpp"

#include <sched.h>

namespace steadytext::shmem {

class SpinWord {
public:
    void acquire() noexcept {
        int spins = 0;
        while (held_.exchange(1, std::memory_order_acquire) != 0)
            while (held_.load(std::memory_order_relaxed) != 0)
                if (++spins % kSpinsBeforeYield == 0)
                    sched_yield();
    }
    void release() noexcept { held_.store(0, std::memory_order_release); }

private:
    static constexpr int kSpinsBeforeYield = 100;
    std::atomic<std::uint32_t> held_{0};  // acquire to take, release to give back: pairs with itself
};

// Holds a spin word from here to the end of the block.
class SpinHold {
public:
    explicit SpinHold(SpinWord &word) noexcept : word_(word) { word_.acquire(); }
    ~SpinHold() { word_.release(); }
    SpinHold(const SpinHold &) = delete;
    SpinHold &operator=(const SpinHold &) = delete;

private:
    SpinWord &word_;
};

}  // namespace steadytext::shmem
