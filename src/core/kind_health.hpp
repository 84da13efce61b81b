// The kinds of requests that a daemon fails at while it works at another kind: it may have a model for each.
//
// Lives in shared memory, in the daemon's row. The gateway records answers and timeouts, sessions record whether they
// could read an answer; any process reads. Regime: pure. The fields are independent, and every combination of them is
// legal, so relaxed atomics suffice (as in breaker.hpp).
#pragma once

#include "src/core/breaker.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace steadytext::core {

class KindHealth {
public:
    static constexpr std::size_t kKinds = 3;                // to generate, to embed, to rerank
    static constexpr std::int64_t kMemoryUs = 600'000'000;  // an answer so lately says that a kind works

    // A request of the kind was answered, and the answer could be read.
    void worked(std::size_t kind, std::int64_t now_us) noexcept {
        Kind &mine = kinds_[kind];
        if (mine.failures.load(std::memory_order_relaxed) != 0) {
            mine.failures.store(0, std::memory_order_relaxed);
            mine.held_until_us.store(0, std::memory_order_relaxed);
        }
        mine.worked_us.store(now_us, std::memory_order_relaxed);
    }

    // A request of the kind failed. True: the daemon fails, as far as is known. False: another kind has worked since it
    // last failed, so only this kind fails; after `threshold` failures in a row it is held off.
    [[nodiscard]] bool is_the_daemons(std::size_t kind, const BreakerSettings &settings, std::int64_t now_us) noexcept {
        Kind &mine = kinds_[kind];
        mine.failed_us.store(now_us, std::memory_order_relaxed);
        if (!another_works(kind, now_us))
            return true;
        if (mine.failures.fetch_add(1, std::memory_order_relaxed) + 1 >= settings.threshold)
            mine.held_until_us.store(now_us + settings.recovery_us, std::memory_order_relaxed);
        return false;
    }

    [[nodiscard]] bool holds_off(std::size_t kind, std::int64_t now_us) const noexcept {
        return now_us < kinds_[kind].held_until_us.load(std::memory_order_relaxed);
    }

    [[nodiscard]] bool holds_any_off(std::int64_t now_us) const noexcept {
        return holds_off(0, now_us) || holds_off(1, now_us) || holds_off(2, now_us);
    }

    // Nothing is known.
    void reset() noexcept {
        for (Kind &kind : kinds_)
            for (auto *time : {&kind.worked_us, &kind.failed_us, &kind.held_until_us})
                time->store(0, std::memory_order_relaxed);
        for (Kind &kind : kinds_)
            kind.failures.store(0, std::memory_order_relaxed);
    }
    // Nothing is held off any longer; what worked is still known.
    void release() noexcept {
        for (Kind &kind : kinds_) {
            kind.failures.store(0, std::memory_order_relaxed);
            kind.held_until_us.store(0, std::memory_order_relaxed);
        }
    }

private:
    struct Kind {
        std::atomic<std::int64_t> worked_us{0};
        std::atomic<std::int64_t> failed_us{0};
        std::atomic<std::int64_t> held_until_us{0};
        std::atomic<std::uint32_t> failures{0};  // in a row
    };

    [[nodiscard]] bool another_works(std::size_t kind, std::int64_t now_us) const noexcept {
        for (std::size_t other = 0; other < kKinds; other++) {
            const std::int64_t worked_us = kinds_[other].worked_us.load(std::memory_order_relaxed);
            if (other != kind && worked_us > kinds_[other].failed_us.load(std::memory_order_relaxed) &&
                now_us - worked_us < kMemoryUs)
                return true;
        }
        return false;
    }

    std::array<Kind, kKinds> kinds_{};
};

}  // namespace steadytext::core
