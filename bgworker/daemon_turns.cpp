// Calls requests back for the sake of other roles: see daemon.hpp and src/core/turns.hpp. Regime: pure.
//
// Idle capacity is lent: a single role may use all of a daemon. If another role then finds it full, the lent places may
// stay in use for as long as the lender likes. So after a moment the youngest requests of the role that has too many
// are called back: the daemon is told to stop them, and they wait for their turn again. Sending them again is safe, as
// the same request has the same answer. Only a native daemon can do this. A stream cannot begin again, since rows are
// out; and a serial daemon goes on with what it has begun. Of these a role gets its share only, even alone.
#include "bgworker/daemon.hpp"

#include "shmem/segment.hpp"

#include <algorithm>

namespace steadytext::gateway {

using shmem::DaemonKind;
using shmem::SlotId;

// The number of requests that the daemon works on at once; 0: not reported.
std::uint32_t Daemon::capacity() const {
    return is_serial() ? static_cast<std::uint32_t>(services_.settings.pool_size) : identity_.slots;
}

// The request was given up while it waited here.
void Daemon::drop(SlotId id, std::int64_t now_us) {
    return_probe(services_.flights.of(id), now_us);
    leave_queue(id);
    services_.flights.drop(id);
}

// The request no longer waits here; sent() is separate.
void Daemon::leave_queue(SlotId id) {
    const Flight &flight = services_.flights.of(id);
    turns_of(flight).stopped_waiting(party_of(flight));
}

// If a role with nothing in flight here has waited for a moment, calls back the surplus of the role that has too many.
void Daemon::call_back_surplus(core::Turns &turns, std::int64_t now_us) {
    constexpr std::int64_t kPatienceUs = 200'000;
    std::uint64_t party;
    std::uint32_t share;
    if (identity_.kind != DaemonKind::Native || waiting_.empty() || capacity() == 0 || !turns.several_ask(now_us) ||
        !turns.has_too_many(capacity(), party, share))
        return;
    const bool is_shut_out = std::any_of(waiting_.begin(), waiting_.end(), [&](SlotId id) {
        const Flight &flight = services_.flights.of(id);
        const bool may_call_back = !flight.is_background || core::Turns::is_background(party);
        return &turns_of(flight) == &turns && may_call_back && turns.in_flight(party_of(flight)) == 0 &&
               flight.queued_us + kPatienceUs <= now_us;
    });
    if (!is_shut_out)
        return;
    std::vector<SlotId> its;
    std::uint32_t kept = turns.in_flight(party);
    for (std::uint32_t index = 0; index < services_.segment.slots->size(); index++) {
        const Flight &flight = services_.flights.of({index, 0});
        if (!flight.active || flight.daemon != this || flight.channel == nullptr || &turns_of(flight) != &turns ||
            party_of(flight) != party)
            continue;
        if (flight.is_called_back)
            kept--;
        else if (const SlotId id{index, flight.generation};
                 flight.sharing == 0 && !services_.flights.slot(id).streaming)
            its.push_back(id);
    }
    std::sort(its.begin(), its.end(),
              [&](SlotId a, SlotId b) { return services_.flights.of(a).sent_us > services_.flights.of(b).sent_us; });
    for (std::size_t i = 0; i < its.size() && kept > share; i++, kept--)
        call_back(its[i], now_us);
}

// The request stays in flight until the daemon confirms that it stopped: a late message about it must not be taken for
// a message about its next try.
void Daemon::call_back(SlotId id, std::int64_t now_us) {
    Flight &flight = services_.flights.of(id);
    flight.is_called_back = true;
    flight.queued_us = now_us;
    send_cancel(*flight.channel, id);
}

// False if the daemon answered before it heard the call: then this is the answer.
bool Daemon::take_called_back(SlotId id, Flight &flight, std::string_view body, std::int64_t now_us) {
    flight.is_called_back = false;
    if (!answers_cancel(body))
        return false;
    settle(flight);
    flight.attempts--;  // it has not failed
    turns_of(flight).asked(party_of(flight), now_us);
    waiting_.push_back(id);
    return true;
}

}  // namespace steadytext::gateway
