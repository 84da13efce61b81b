// Chooses the request that a daemon gets next, and calls requests back for the sake of other roles: see daemon.hpp and
// src/core/turns.hpp. Regime: pure.
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

namespace {

constexpr unsigned kOthersPerBackground = 7;

}  // namespace

// Whether a way to the daemon is open: the shared connections, or a spare connection.
struct Daemon::Lanes {
    bool is_full = false;
    bool spares_are_full = false;
};

// A request that waits for a spare connection does not hold up the requests behind it, nor they it. Many large requests
// in a row would keep the answers of other daemons waiting, so each turn of the loop sends only so many.
void Daemon::pump(std::int64_t now_us) {
    constexpr std::size_t kMaxBytesATurn = 1 << 20;
    send_gathered(now_us);
    Lanes lanes{false, identity_.kind != DaemonKind::Native};
    while (!is_busy(now_us)) {
        const auto next = next_in_turn(lanes, now_us);
        if (next == waiting_.end())
            return;
        is_cut_short_ = turn_bytes_ >= kMaxBytesATurn;
        if (is_cut_short_)
            return;
        const SlotId id = *next;
        if (!services_.flights.is_wanted(id)) {
            waiting_.erase(next);
            drop(id, now_us);
            continue;
        }
        const bool alone = goes_alone(id);
        Channel *channel = alone ? spare_channel() : free_channel();
        const std::size_t bytes = services_.flights.slot(id).request.bytes;
        const bool is_background = services_.flights.of(id).is_background;
        const bool is_sent = channel != nullptr && send(*channel, id, now_us);
        turn_bytes_ += is_sent ? bytes : 0;
        if (is_sent)
            sent_before_background_ = is_background ? 0 : sent_before_background_ + 1;
        (alone ? lanes.spares_are_full : lanes.is_full) = !is_sent;
        if (is_sent)
            waiting_.erase(
                std::find_if(waiting_.begin(), waiting_.end(), [&](SlotId other) { return other.index == id.index; }));
    }
}

// Of the requests that can be sent now, the first request of the role with the fewest requests in flight here; of
// requests in the background only if there is no other, but for one of eight: so they are late and not for ever.
std::deque<SlotId>::iterator Daemon::next_in_turn(const Lanes &lanes, std::int64_t now_us) {
    auto best = waiting_.end();
    const bool turn_of_background = sent_before_background_ >= kOthersPerBackground;
    std::pair fewest(true, UINT32_MAX);  // of the class whose turn it is not, and requests in flight
    for (auto next = waiting_.begin(); next != waiting_.end(); ++next) {
        const bool alone = goes_alone(*next);
        if (alone ? lanes.spares_are_full : lanes.is_full)
            continue;
        // It is not known yet whether the daemon wants its tokens acknowledged, or can count tokens.
        const shmem::Slot &slot = services_.flights.slot(*next);
        if (identity_.kind == DaemonKind::Unknown &&
            (slot.streaming || slot.operation == shmem::Operation::CountTokens))
            continue;
        if (is_busy_for(*next, now_us))
            continue;
        const Flight &flight = services_.flights.of(*next);
        core::Turns &turns = turns_of(flight);
        const std::uint64_t party = party_of(flight);
        const std::pair mine(flight.is_background != turn_of_background,
                             turns.several_ask(now_us) ? turns.in_flight(party) : 0);
        if (mine >= fewest || !turns.may_send(party, lasts(*next), capacity(), now_us))
            continue;
        best = next;
        fewest = mine;
        if (fewest == std::pair(false, 0U))
            break;
    }
    return best;
}

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
