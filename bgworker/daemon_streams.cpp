// A daemon's streams: pieces on their way to the session, and ending a stream early: see daemon.hpp. Regime: pure.
//
// A pipelined daemon sends tokens as they come, and a cancel stops it. A serial daemon (the Python daemon) waits for
// `ACK` after each token, for ever. It is acknowledged at once, so that a slow reader does not delay others; it stops
// at any other message. So an unwanted stream stops at its next token, and until then the connection is not free. An
// engine over HTTP has a connection for each stream: a slow reader only delays this connection, a cancel closes it.
#include "bgworker/daemon.hpp"

#include "shmem/segment.hpp"
#include "src/core/clock.hpp"

namespace steadytext::gateway {

using core::StreamMessage;
using shmem::Counter;
using shmem::Outcome;
using shmem::SlotId;

namespace {

constexpr std::string_view kAcknowledge = "ACK";
constexpr std::string_view kStop = "STOP";

}  // namespace

StreamMessage Daemon::read_stream(std::string_view body, std::string_view &piece) {
    std::string &message = services_.buffer;
    message.assign(body);
    message.append(core::PaddedText::kPadding, '\0');
    return core::read_stream_message({std::string_view(message).substr(0, body.size())}, piece);
}

void Daemon::handle_stream(Channel &channel, SlotId id, Flight &flight, std::string_view body, std::int64_t now_us) {
    std::string_view piece;
    switch (read_stream(body, piece)) {
    case StreamMessage::Piece:
        deliver_piece(channel, id, flight, piece, now_us);
        break;
    case StreamMessage::End:
        record_answer(id, now_us, now_us - flight.sent_us);
        settle(flight);
        services_.flights.deliver(id, body, now_us);
        break;
    case StreamMessage::Invalid:
        break_off_stream(channel, id, flight, "The message is not a piece of a stream.", Fault::Daemons, now_us);
        break;
    }
}

void Daemon::deliver_piece(Channel &channel, SlotId id, Flight &flight, std::string_view piece, std::int64_t now_us) {
    heard_us_ = now_us;
    timeouts_.forgive();
    switch (services_.flights.deliver_piece(id, piece, now_us)) {
    case Flights::Backlog::TooLong:
        break_off_stream(channel, id, flight, "The answer is too long to be kept until it is read.", Fault::Readers,
                         now_us);
        return;
    case Flights::Backlog::Long:
        flight.paused = true;
        channel.pause(wire_id_of(id));
        break;
    case Flights::Backlog::Short:
        break;
    }
    if (is_serial() && channel.send(kAcknowledge) == Channel::Sent::Broken)
        replace(channel);
}

// The session has made room: a paused stream goes on once its whole backlog is on its way.
void Daemon::resume_stream(SlotId id) {
    Flight &flight = services_.flights.of(id);
    if (!flight.paused || !flight.backlog.empty() || flight.channel == nullptr)
        return;
    flight.paused = false;
    flight.channel->resume(wire_id_of(id));
}

void Daemon::break_off_stream(Channel &channel, SlotId id, Flight &flight, const char *why, Fault fault,
                              std::int64_t now_us) {
    if (fault == Fault::Daemons) {
        services_.segment.counters->add(0, Counter::InvalidReplies);
        record_failure(now_us, "it sent an invalid stream");
    }
    core::Problem problem;
    problem.set(core::sqlstate::kProtocolViolation, "daemon %s sent an invalid reply", identity_.endpoint);
    problem.with_detail("%s", why);
    settle(flight);
    services_.flights.fail(id, Outcome::InvalidReply, problem, now_us);
    if (is_serial())
        replace(channel);
    else
        send_cancel(channel, id);
}

// A serial daemon is told at its next token.
void Daemon::stop_stream(Channel &channel, std::int64_t now_us) {
    channel.stopping_since_us = now_us;
    channel.in_flight++;
}

// Handles a message of a stream that must stop; false if no stream must stop.
bool Daemon::continue_stopping(Channel &channel, std::string_view body) {
    if (channel.stopping_since_us == 0)
        return false;
    std::string_view piece;
    if (read_stream(body, piece) == StreamMessage::Piece) {
        if (channel.send(kStop) != Channel::Sent::Yes)
            replace(channel);
        return true;
    }
    channel.stopping_since_us = 0;
    channel.in_flight--;
    return true;
}

// If a stream does not stop, its connection is closed.
void Daemon::give_up_stopping(std::int64_t now_us) {
    constexpr std::int64_t kPatienceUs = 5'000'000;
    for (std::size_t i = channels_.size(); i-- > 0;)
        if (channels_[i]->stopping_since_us != 0 && now_us > channels_[i]->stopping_since_us + kPatienceUs)
            replace(*channels_[i]);
}

}  // namespace steadytext::gateway
