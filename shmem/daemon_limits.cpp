// Checks a request against the limits of a daemon: see daemon_limits.hpp. Regime: pure.
#include "shmem/daemon_limits.hpp"

#include <algorithm>

namespace steadytext::shmem {

static_assert(DaemonLimits::kMost <= 32 && DaemonLimits::kMost <= RateLimiter::kMaxLimits);

namespace {

constexpr RateLimiter::Caller kNobody{0, 0};  // only Concurrency needs to know the caller

bool is_sooner(const RateLimiter::Outcome &outcome, const DaemonLimits::Refusal &than) noexcept {
    return !than.is_set || than.is_stale || outcome.wait_us < than.wait_us;
}

}  // namespace

bool DaemonLimits::admit(RateLimiter &limiter, std::span<const std::uint64_t> names, std::int64_t now_us) noexcept {
    RateLimiter::Limit limits[kMost];
    std::uint32_t places[kMost];
    std::uint32_t bound = 0;
    charged = 0;
    for (std::uint32_t i = 0; i < count; i++) {
        if (std::find(names.begin(), names.end(), items[i].daemon) == names.end())
            continue;
        limits[bound] = items[i].limit;
        places[bound++] = i;
    }
    RateLimiter::Grant grant;
    const RateLimiter::Outcome outcome = limiter.admit({limits, bound}, demand, kNobody, now_us, grant);
    if (outcome.verdict == RateLimiter::Verdict::Admitted) {
        for (std::uint32_t i = 0; i < bound; i++) {
            charged |= 1U << places[i];
            marks[places[i]] = grant.items[i].mark;
        }
        return true;
    }
    if (outcome.verdict == RateLimiter::Verdict::Stale)
        refusal = refusal.is_set ? refusal : Refusal{true, true, 0, 0, 0};
    else if (is_sooner(outcome, refusal))
        refusal = {true, false, places[outcome.refused_by], outcome.wait_us, outcome.left};
    return false;
}

void DaemonLimits::give_back(RateLimiter &limiter, std::int64_t now_us) noexcept {
    RateLimiter::Grant grant;
    add_to(grant);
    limiter.undo(grant, kNobody, now_us, [](std::int32_t) {});
    charged = 0;
}

void DaemonLimits::add_to(RateLimiter::Grant &grant) const noexcept {
    for (std::uint32_t i = 0; i < count && grant.count < RateLimiter::kMaxLimits; i++)
        if ((charged >> i & 1) != 0)
            grant.items[grant.count++] = {items[i].limit, demand.of(items[i].limit.unit), marks[i], 0};
}

}  // namespace steadytext::shmem
