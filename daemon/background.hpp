// What requests in the background get of an engine: all its time while no other request is there, and else a small
// share, so that they are late but not for ever.
//
// Used by the generator and by item_engine.hpp, each on its own thread; YieldSignal also by the threads that it names.
// Regime: pure.
#pragma once

#include <algorithm>
#include <atomic>

namespace steadytext::daemon {

// The share beside others: so many seconds for each second of theirs. A step of the background comes as soon as any
// time is saved for it, and what it takes longer is owed.
class BackgroundShare {
public:
    static constexpr double kShare = 0.125;
    static constexpr double kMaxSaved = 0.05;  // seconds: no burst after a long time without a wish
    static constexpr double kMaxOwed = 1;

    [[nodiscard]] bool has_turn() const noexcept { return saved_ > 0; }
    void others_computed(double seconds) noexcept { saved_ = std::min(saved_ + kShare * seconds, kMaxSaved); }
    void computed_beside_others(double seconds) noexcept { saved_ = std::max(saved_ - seconds, -kMaxOwed); }

private:
    double saved_ = 0;
};

// Breaks off a step in the background when something comes that goes first: the step is computed again later, with the
// same bits. Raised by whoever puts something into the engine's inbox, after that; lowered by the engine before it looks
// there. Relaxed: it carries no data, and a step that is broken off in vain costs itself only.
class YieldSignal {
public:
    void raise() noexcept { is_raised_.store(true, std::memory_order_relaxed); }
    void lower() noexcept { is_raised_.store(false, std::memory_order_relaxed); }
    // Engine, before each step.
    void begin_step(bool may_be_broken_off) noexcept { applies_.store(may_be_broken_off, std::memory_order_relaxed); }
    // Also on the threads that compute.
    [[nodiscard]] bool breaks_off() const noexcept {
        return applies_.load(std::memory_order_relaxed) && is_raised_.load(std::memory_order_relaxed);
    }

private:
    std::atomic<bool> is_raised_ = false;
    std::atomic<bool> applies_ = false;
};

}  // namespace steadytext::daemon
