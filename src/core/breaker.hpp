// The circuit breaker of a daemon: Closed → Open → HalfOpen → Closed.
//
// Lives in shared memory. The gateway records results; sessions record whether they could read an answer; any process
// reads the state. Regime: pure. There is no timer: the state is derived from the clock whenever it is read, so nothing
// can stick (resilience4j#2093). The half-open probe is a lease that expires by itself, so a probe lost with its sender
// cannot block recovery (resilience4j#935).
//
// Ordering: the fields are independent and every combination of them is a legal state, so relaxed atomics suffice.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace steadytext::core {

enum class BreakerState : std::uint8_t { Closed, Open, HalfOpen };

[[nodiscard]] constexpr const char *name_of(BreakerState state) noexcept {
    constexpr const char *kNames[] = {"closed", "open", "half_open"};
    return kNames[static_cast<std::size_t>(state)];
}

struct BreakerSettings {
    std::uint32_t threshold;   // consecutive failures that open it
    std::int64_t recovery_us;  // how long it stays open, and how long a probe's lease lasts
};

class Breaker {
public:
    [[nodiscard]] BreakerState state(const BreakerSettings &settings, std::int64_t now_us) const noexcept {
        if (failures_.load(std::memory_order_relaxed) < settings.threshold)
            return BreakerState::Closed;
        return now_us < open_until_us_.load(std::memory_order_relaxed) ? BreakerState::Open : BreakerState::HalfOpen;
    }

    // May a request go to the daemon now? In HalfOpen this takes the probe's lease, which a single caller gets.
    [[nodiscard]] bool admit(const BreakerSettings &settings, std::int64_t now_us) noexcept {
        switch (state(settings, now_us)) {
        case BreakerState::Closed:
            return true;
        case BreakerState::Open:
            return false;
        case BreakerState::HalfOpen:
            break;
        }
        std::int64_t lease = probe_until_us_.load(std::memory_order_relaxed);
        return lease <= now_us &&
               probe_until_us_.compare_exchange_strong(lease, now_us + settings.recovery_us, std::memory_order_relaxed);
    }

    // The probe's end says nothing about the daemon: another probe may go at once.
    void return_probe() noexcept { probe_until_us_.store(0, std::memory_order_relaxed); }

    // While the breaker is open, answers to earlier requests say nothing: only a probe's answer closes it.
    void record_success(const BreakerSettings &settings, std::int64_t now_us) noexcept {
        if (state(settings, now_us) == BreakerState::Open)
            return;
        failures_.store(0, std::memory_order_relaxed);
        probe_until_us_.store(0, std::memory_order_relaxed);
    }

    // Forgets everything, as for a daemon that is still unknown.
    void forget() noexcept {
        reset();
        open_until_us_.store(0, std::memory_order_relaxed);
        times_opened_.store(0, std::memory_order_relaxed);
    }

    // Closes the breaker and clears its counts: the daemon is connected anew, or steadytext_daemon_reset() was called.
    void reset() noexcept {
        unreadable_.store(0, std::memory_order_relaxed);
        failures_.store(0, std::memory_order_relaxed);
        probe_until_us_.store(0, std::memory_order_relaxed);
    }

    // A failed probe opens the breaker again at once; in Closed, the threshold-th failure in a row opens it.
    void record_failure(const BreakerSettings &settings, std::int64_t now_us) noexcept {
        if (failures_.fetch_add(1, std::memory_order_relaxed) + 1 >= settings.threshold) {
            if (state(settings, now_us) != BreakerState::Open)
                times_opened_.fetch_add(1, std::memory_order_relaxed);
            open_until_us_.store(now_us + settings.recovery_us, std::memory_order_relaxed);
            probe_until_us_.store(0, std::memory_order_relaxed);
        }
    }

    // Called by the session that received the message. The gateway took the message for an answer and cannot judge it,
    // so unreadable answers are counted apart.
    void record_readable() noexcept {
        if (unreadable_.load(std::memory_order_relaxed) != 0)
            unreadable_.store(0, std::memory_order_relaxed);
    }
    void record_unreadable(const BreakerSettings &settings, std::int64_t now_us) noexcept {
        if (unreadable_.fetch_add(1, std::memory_order_relaxed) + 1 >= settings.threshold)
            trip(settings, now_us);
    }

    // Called for steadytext_daemon_trip: opens now, whatever the count.
    void trip(const BreakerSettings &settings, std::int64_t now_us) noexcept {
        unreadable_.store(0, std::memory_order_relaxed);
        failures_.store(settings.threshold, std::memory_order_relaxed);
        times_opened_.fetch_add(1, std::memory_order_relaxed);
        open_until_us_.store(now_us + settings.recovery_us, std::memory_order_relaxed);
        probe_until_us_.store(0, std::memory_order_relaxed);
    }

    [[nodiscard]] std::uint32_t consecutive_failures() const noexcept {
        return failures_.load(std::memory_order_relaxed);
    }
    // How often the breaker opened, failed probes included.
    [[nodiscard]] std::uint64_t times_opened() const noexcept { return times_opened_.load(std::memory_order_relaxed); }
    [[nodiscard]] std::int64_t open_until_us() const noexcept { return open_until_us_.load(std::memory_order_relaxed); }

private:
    std::atomic<std::uint32_t> failures_{0};    // in a row, of requests
    std::atomic<std::uint32_t> unreadable_{0};  // in a row, of answers
    std::atomic<std::int64_t> open_until_us_{0};
    std::atomic<std::int64_t> probe_until_us_{0};
    std::atomic<std::uint64_t> times_opened_{0};
};

}  // namespace steadytext::core
