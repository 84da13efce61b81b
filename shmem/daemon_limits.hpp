// The limits that bind a request at certain daemons. Which of them apply is known only when the gateway has chosen a
// daemon.
//
// Part of a request's slot (slot_table.hpp) and handed over with it. The session writes the limits
// (src/session/limits.cpp). The gateway checks them and writes what it charged or which limit refused
// (bgworker/gateway.cpp). Then the session settles. Regime: pure, noexcept. Meters and admission belong to
// rate_limiter.hpp, so a daemon's limits are also charged all or none.
//
// A daemon is identified by the hashes of its names: its endpoint, and the entry of steadytext.daemons that it comes
// from.
#pragma once

#include "shmem/rate_limiter.hpp"

namespace steadytext::shmem {

struct DaemonLimits {
    static constexpr std::size_t kMost = 16;

    struct Item {
        std::uint64_t daemon;      // core::stable_hash of the name a rule gives it
        RateLimiter::Limit limit;  // of Requests or Tokens; their meters' indexes ascend
    };

    // Of all refusals at all daemons, the refusal that ends soonest.
    struct Refusal {
        bool is_set = false;
        bool is_stale = false;  // a meter now counts for another key: the session must look up its meters again
        std::uint32_t item = 0;
        std::int64_t wait_us = 0;  // as RateLimiter::Outcome
        std::int64_t left = 0;
    };

    // Written by the session while Claimed.
    RateLimiter::Demand demand;
    bool waits = false;   // wait until a daemon has room, within the deadline
    bool shadow = false;  // count refusals, but refuse nothing
    std::uint32_t count = 0;
    Item items[kMost];

    // Written by the gateway while Inflight.
    std::uint32_t charged = 0;  // a bit for each item
    SlidingWindow::Mark marks[kMost];
    Refusal refusal;

    // Charges the request for the daemon with these names; false if a limit refuses it. Charges for an earlier daemon
    // stay.
    [[nodiscard]] bool admit(RateLimiter &limiter, std::span<const std::uint64_t> names, std::int64_t now_us) noexcept;
    // The request does not go to the daemon that it was charged for.
    void give_back(RateLimiter &limiter, std::int64_t now_us) noexcept;
    // Adds the charges to the grant that the session has to settle.
    void add_to(RateLimiter::Grant &grant) const noexcept;
};

}  // namespace steadytext::shmem
