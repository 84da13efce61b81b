// A lock of one word, for what is held for less than a microsecond: no system call, no copy of a value of the caller's size,
// nothing that can raise.
//
// Used by single_flight.* and statement_stats.*. Regime: pure, noexcept. A process killed while it holds one needs no
// recovery, as PostgreSQL then makes all shared memory anew; one that lost its processor is waited for by yielding.
#pragma once

#include "shmem/atomic.hpp"

#include <sched.h>

namespace steadytext::shmem {

struct SpinWord {
    std::atomic<std::uint32_t> held{0};  // acquire to take, release to give back: pairs with itself
};

class SpinHold {
public:
    explicit SpinHold(SpinWord &word) noexcept : word_(word) {
        int spins = 0;
        while (word_.held.exchange(1, std::memory_order_acquire) != 0)
            while (word_.held.load(std::memory_order_relaxed) != 0)
                if (++spins % kSpinsBeforeYield == 0)
                    sched_yield();
    }
    ~SpinHold() { word_.held.store(0, std::memory_order_release); }
    SpinHold(const SpinHold &) = delete;
    SpinHold &operator=(const SpinHold &) = delete;

private:
    static constexpr int kSpinsBeforeYield = 100;
    SpinWord &word_;
};

}  // namespace steadytext::shmem
