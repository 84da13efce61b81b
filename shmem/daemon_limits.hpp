// The limits that bind a request at certain daemons: which daemon it goes to is known when the gateway has chosen one.
//
// Part of a request's slot (slot_table.hpp) and handed over with it: the session writes what binds (src/session/limits.cpp), the
// gateway asks, and writes what was charged or what stood against it (bgworker/gateway.cpp); then the session settles. Regime: pure,
// noexcept; meters and admission are those of rate_limiter.hpp, so a daemon's limits too are charged all or none.
//
// A daemon is known by the hashes of its names: its endpoint, and the entry of steadytext.daemons it comes from.
#pragma once

#include "shmem/rate_limiter.hpp"

namespace steadytext::shmem {

struct DaemonLimits {
    static constexpr std::size_t kMost = 16;

    struct Item {
        std::uint64_t daemon;      // core::stable_hash of the name a rule gives it
        RateLimiter::Limit limit;  // of Requests or Tokens; their meters' indexes ascend
    };

    // What is soonest over of all that stood against the request, at whatever daemon.
    struct Refusal {
        bool is_set = false;
        bool is_stale = false;  // a meter counts for another key by now: the session must look for its meters again
        std::uint32_t item = 0;
        std::int64_t wait_us = 0;  // as RateLimiter::Outcome
        std::int64_t left = 0;
    };

    // Written by the session while Claimed.
    RateLimiter::Demand demand;
    bool waits = false;   // until a daemon has room, within the deadline
    bool shadow = false;  // refusals are counted, and nothing is refused
    std::uint32_t count = 0;
    Item items[kMost];

    // Written by the gateway while Inflight.
    std::uint32_t charged = 0;  // a bit for each item
    SlidingWindow::Mark marks[kMost];
    Refusal refusal;

    // Charges the request for the daemon of these names; false if a limit stands against it. What it was charged for another
    // daemon before stays.
    [[nodiscard]] bool admit(RateLimiter &limiter, std::span<const std::uint64_t> names, std::int64_t now_us) noexcept;
    // It does not go to the daemon it was charged for.
    void give_back(RateLimiter &limiter, std::int64_t now_us) noexcept;
    // Adds what was charged to what the session has to settle.
    void add_to(RateLimiter::Grant &grant) const noexcept;
};

}  // namespace steadytext::shmem
