// Whether failures in a row are one role's, while others use the daemon: then they say nothing of the daemon, as a role
// chooses what it asks.
//
// Lives in shared memory, in the daemon's row. Written by sessions, which find out whether they can read an answer. The
// gateway judges timeouts in the same way, with more memory (timeouts.hpp). Regime: pure. The fields are independent,
// and every combination of them is legal, so relaxed atomics suffice.
#pragma once

#include <atomic>
#include <cstdint>

namespace steadytext::core {

class RoleStreak {
public:
    static constexpr std::int64_t kMemoryUs =
        600'000'000;  // roles that took turns so lately use the daemon side by side

    // The role's request was answered.
    void worked(std::uint32_t role, std::int64_t now_us) noexcept {
        note_user(role, now_us);
        if (first_.load(std::memory_order_relaxed) != 0)
            forget();
    }

    // The role's request failed. True: it counts against the daemon.
    [[nodiscard]] bool is_the_daemons(std::uint32_t role, std::int64_t now_us) noexcept {
        note_user(role, now_us);
        std::uint32_t first = 0;
        if (!first_.compare_exchange_strong(first, role, std::memory_order_relaxed) && first != role)
            are_several_.store(true, std::memory_order_relaxed);
        const std::int64_t changed_us = changed_us_.load(std::memory_order_relaxed);
        const bool others_ask = changed_us != 0 && now_us - changed_us < kMemoryUs;
        return are_several_.load(std::memory_order_relaxed) || !others_ask;
    }

    void forget() noexcept {
        first_.store(0, std::memory_order_relaxed);
        are_several_.store(false, std::memory_order_relaxed);
    }
    void reset() noexcept {
        forget();
        user_.store(0, std::memory_order_relaxed);
        changed_us_.store(0, std::memory_order_relaxed);
    }

private:
    void note_user(std::uint32_t role, std::int64_t now_us) noexcept {
        const std::uint32_t before = user_.load(std::memory_order_relaxed);
        if (before == role)
            return;
        user_.store(role, std::memory_order_relaxed);
        if (before != 0)
            changed_us_.store(now_us, std::memory_order_relaxed);
    }

    std::atomic<std::uint32_t> user_{0};       // the role that was answered last
    std::atomic<std::int64_t> changed_us_{0};  // when it was last another than before; 0: never
    std::atomic<std::uint32_t> first_{0};      // the role whose failure was the first in a row
    std::atomic<bool> are_several_{false};     // another role's followed
};

}  // namespace steadytext::core
