// Rate limits of daemons: charged when a daemon is chosen, waited for if the session wants it: see gateway.hpp. Regime:
// pure.
#include "bgworker/gateway.hpp"

#include "shmem/segment.hpp"

#include <utility>

namespace steadytext::gateway {

using shmem::Counter;
using shmem::SlotId;

// Charges the request to the limits of the daemon and asks its breaker; returns what is lacking.
Gateway::RejectReason Gateway::reserve(shmem::Slot &slot, Daemon &daemon, std::int64_t now_us) {
    shmem::DaemonLimits &limits = slot.limits;
    if (limits.count > 0 && !limits.admit(*segment_.limiter, daemon.names(), now_us)) {
        if (!limits.shadow)
            return RejectReason::Quota;
        segment_.counters->add(0, Counter::LimitShadowRefusals);
    }
    if (daemon.admit(slot.role.load(std::memory_order_relaxed), now_us))
        return RejectReason::None;
    limits.give_back(*segment_.limiter, now_us);
    return daemon.is_tripped(now_us) ? RejectReason::Breaker : RejectReason::Connection;
}

// Waits until the first of the refusing limits admits the request, if its session wants this and has the time.
bool Gateway::wait_for_quota(SlotId id, std::int64_t now_us) {
    const shmem::Slot &slot = flights_.slot(id);
    const std::int64_t wait_us = slot.limits.refusal.wait_us;
    if (!slot.limits.waits || slot.limits.refusal.is_stale || now_us >= slot.deadline_us ||
        wait_us >= slot.deadline_us - now_us)
        return false;
    Flight &flight = flights_.of(id);
    flight.daemon = nullptr;
    if (!std::exchange(flight.has_waited, true))
        segment_.counters->add(0, Counter::LimitWaits);
    waiting_.push_back({id, now_us + wait_us});
    return true;
}

void Gateway::retry_waiting(std::int64_t now_us) {
    std::vector<SlotId> due;
    std::erase_if(waiting_, [&](const Waiting &waiting) {
        if (waiting.until_us > now_us)
            return false;
        due.push_back(waiting.id);
        return true;
    });
    for (const SlotId id : due) {
        if (flights_.find(id) == nullptr)
            continue;  // its session gave up
        flights_.of(id).queued_us = now_us;
        dispatch(id, now_us);
    }
}

}  // namespace steadytext::gateway
