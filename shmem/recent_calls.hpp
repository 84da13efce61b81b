// The last thousand calls of the server: when each ended, how long it took, whether it got a real answer.
//
// Written by src/session/observe.* as calls end, read by steadytext_response_times(). Regime: pure, noexcept,
// lock-free.
//
// Sessions are spread over rings, each as long as the list that is shown: the last thousand calls of all rings are
// among the last thousand calls of each ring. A writer claims an entry by its ring's counter; `turn` names the claim
// once the entry is written. A reader that finds a different turn after reading than before leaves the entry out. (If a
// whole ring overtakes a writer while it writes, an entry could be a mix of two calls; the writer would have to be
// stopped for as long as a thousand calls take.)
#pragma once

#include "shmem/call_stats.hpp"

namespace steadytext::shmem {

struct RecentCall {
    std::int64_t finished_us;  // CLOCK_MONOTONIC
    std::int64_t took_us;
    CallKind kind;
    bool success;
};

class RecentCalls {
public:
    static constexpr std::size_t kShown = 1000;
    static constexpr std::size_t kRings = 16;

    // `who` spreads callers over the rings: pass a PGPROC number.
    void add(std::uint32_t who, const RecentCall &call) noexcept {
        Ring &ring = rings_[who % kRings];
        const std::uint64_t turn = ring.next.fetch_add(1, std::memory_order_relaxed);
        Entry &entry = ring.entries[turn % kShown];
        entry.turn.store(0, std::memory_order_relaxed);
        // release: both pair with the reader's acquire, which then sees that `turn` was cleared.
        entry.finished_us.store(call.finished_us, std::memory_order_release);
        entry.rest.store(pack(call), std::memory_order_release);
        entry.turn.store(turn + 1, std::memory_order_release);  // pairs with the reader's first load
    }

    static constexpr std::size_t kMost = kRings * kShown;

    // Copies the entries, kMost at most, in no order; returns how many. `calls` has room for one entry more than it
    // returns.
    [[nodiscard]] std::size_t copy(RecentCall *calls) const noexcept {
        std::size_t count = 0;
        for (const Ring &ring : rings_)
            for (const Entry &entry : ring.entries)
                count += read(entry, calls[count]);
        return count;
    }

    void reset() noexcept {
        for (Ring &ring : rings_)
            for (Entry &entry : ring.entries)
                entry.turn.store(0, std::memory_order_relaxed);
    }

private:
    struct Entry {
        std::atomic<std::uint64_t> turn{0};  // 0: nothing here
        std::atomic<std::int64_t> finished_us{0};
        std::atomic<std::uint64_t> rest{0};
    };
    struct alignas(kCacheLine) Ring {
        std::atomic<std::uint64_t> next{0};
        Entry entries[kShown];
    };

    static std::uint64_t pack(const RecentCall &call) noexcept {
        return static_cast<std::uint64_t>(call.took_us < 0 ? 0 : call.took_us) << 8 |
               std::uint64_t{static_cast<std::uint8_t>(call.kind)} << 1 | std::uint64_t{call.success};
    }

    static bool read(const Entry &entry, RecentCall &call) noexcept {
        const std::uint64_t turn = entry.turn.load(std::memory_order_acquire);
        call.finished_us = entry.finished_us.load(std::memory_order_acquire);
        const std::uint64_t rest = entry.rest.load(std::memory_order_acquire);
        call.took_us = static_cast<std::int64_t>(rest >> 8);
        call.kind = static_cast<CallKind>((rest >> 1) & 0x7f);
        call.success = (rest & 1) != 0;
        return turn != 0 && entry.turn.load(std::memory_order_relaxed) == turn;
    }

    Ring rings_[kRings];
};

}  // namespace steadytext::shmem
