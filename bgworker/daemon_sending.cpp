// How a request goes to a daemon: it waits here, its turn comes, its message is made and sent. Regime: pure; see daemon.hpp.
#include "bgworker/daemon.hpp"

#include "shmem/segment.hpp"
#include "src/core/clock.hpp"

#include <algorithm>

namespace steadytext::gateway {

using core::WireId;
using shmem::Counter;
using shmem::DaemonKind;
using shmem::Outcome;
using shmem::SlotId;

namespace {

constexpr unsigned kOthersPerBackground = 7;

const char *method_name(shmem::Operation operation) {
    switch (operation) {
    case shmem::Operation::Generate:
        return "generate";
    case shmem::Operation::Embed:
        return "embed";
    case shmem::Operation::EmbedBatch:
        return "embed_batch";
    case shmem::Operation::Rerank:
        return "rerank";
    case shmem::Operation::CountTokens:
        return "count_tokens";
    }
    return "";
}

}  // namespace

// When half open, the breaker lets a single probe through. If a probe was given up before it told anything, or timed
// out, other roles go first: else a role whose calls always time out could keep the daemon from all others.
bool Daemon::admit(std::uint32_t role, std::int64_t now_us) {
    core::Breaker &breaker = row_state().breaker;
    const bool probes = breaker.state(services_.settings.breaker, now_us) == core::BreakerState::HalfOpen;
    if (probes && role == last_prober_ && now_us < last_prober_waits_until_us_)
        return false;
    return breaker.admit(services_.settings.breaker, now_us);
}

void Daemon::return_probe(const Flight &flight, std::int64_t now_us) {
    if (!flight.is_probe)
        return;
    row_state().breaker.return_probe();
    let_others_probe(flight.role, now_us + services_.settings.breaker.recovery_us);
}

void Daemon::let_others_probe(std::uint32_t role, std::int64_t until_us) {
    last_prober_ = role;
    last_prober_waits_until_us_ = until_us;
}

void Daemon::enqueue(SlotId id, std::int64_t now_us) {
    Flight &flight = services_.flights.of(id);
    flight.daemon = this;
    flight.channel = nullptr;
    flight.is_probe = row_state().breaker.state(services_.settings.breaker, now_us) == core::BreakerState::HalfOpen;
    flight.goes_behind = flight.is_background && knows_priority_;
    turns_of(flight).asked(party_of(flight), now_us);
    (may_share(id) ? gathering_ : waiting_).push_back(id);
}

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

// True if the request was on a connection that was lost. On a serial daemon every request is alone anyway, and on an
// engine requests are independent.
bool Daemon::goes_alone(SlotId id) {
    return identity_.kind == DaemonKind::Native && services_.flights.of(id).attempts > 0;
}

WireId::Text Daemon::wire_id_of(SlotId id) const {
    return WireId{services_.segment.header->boot_epoch, id.index, id.generation}.text();
}

bool Daemon::send(Channel &channel, SlotId id, std::int64_t now_us) {
    shmem::Slot &slot = services_.flights.slot(id);
    std::string &message = services_.buffer;
    message.assign("{\"method\": \"")
        .append(slot.streaming ? "generate_iter" : method_name(slot.operation))
        .append("\", \"params\": ");
    const std::size_t params_at = message.size();
    message.resize(params_at + slot.request.bytes);
    if (!services_.segment.payloads->copy_out(slot.request, message.data() + params_at))
        message.resize(params_at);
    tell_priority(message, params_at, services_.flights.of(id));
    message.append(", \"id\": \"").append(wire_id_of(id)).append("\"}");

    switch (channel.send(message)) {
    case Channel::Sent::Busy:
        return false;
    case Channel::Sent::Unsendable:
        refuse_unsendable(id, now_us);
        return true;
    case Channel::Sent::Broken:
        replace(channel);
        return false;
    case Channel::Sent::Yes:
        break;
    }
    note_sent(channel, id, now_us);
    return true;
}

// A session's request needs no word: it goes first. `params_at`: where the object of the parameters begins.
void Daemon::tell_priority(std::string &message, std::size_t params_at, const Flight &flight) const {
    constexpr std::string_view kMember = "\"priority\": \"background\", ";
    if (flight.goes_behind && message.compare(params_at, 2, "{\"") == 0)
        message.insert(params_at + 1, kMember);
}

// The fault is in the caller's request, not in the daemon, so no other request is affected.
void Daemon::refuse_unsendable(SlotId id, std::int64_t now_us) {
    core::Problem problem;
    problem.set(core::sqlstate::kProgramLimitExceeded, "the request cannot be sent to daemon %s", identity_.endpoint);
    problem.with_detail("No message of the kind that this daemon reads could be made of it.");
    return_probe(services_.flights.of(id), now_us);
    leave_queue(id);
    services_.flights.fail(id, Outcome::Refused, problem, now_us);
}

void Daemon::note_sent(Channel &channel, SlotId id, std::int64_t now_us) {
    Flight &flight = services_.flights.of(id);
    leave_queue(id);
    flight.lasts = lasts(id);
    turns_of(flight).sent(party_of(flight), flight.lasts, now_us);
    flight.channel = &channel;
    flight.sent_us = now_us;
    services_.flights.slot(id).sent_us.store(now_us, std::memory_order_relaxed);
    flight.attempts++;
    flight.is_reserved = false;
    services_.flights.slot(id).daemon = row_;
    services_.flights.slot(id).daemon_tenure = row_state().tenure.load(std::memory_order_relaxed);
    channel.in_flight++;
    in_flight_++;
    row_state().in_flight.store(static_cast<std::uint32_t>(in_flight_), std::memory_order_relaxed);
    row_state().requests.fetch_add(1, std::memory_order_relaxed);
    services_.segment.counters->add(0, Counter::Sends);
}

}  // namespace steadytext::gateway
