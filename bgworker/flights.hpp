// The requests the gateway has in hand: one record per slot, and the only ways for a request to end.
//
// Called by bgworker/gateway.cpp and bgworker/daemon.cpp. Regime: pure but for the wake-up of a session's latch, which
// cannot raise. The slot word (shmem/slot_table.hpp) decides every race with the session; these records are the
// gateway's own memory and nobody else sees them.
#pragma once

#include "bgworker/channel.hpp"
#include "shmem/slot_table.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace steadytext::shmem {
struct Segment;
}

namespace steadytext::gateway {

class Daemon;

struct Flight {
    bool active = false;
    std::uint32_t generation = 0;
    std::uint32_t role = 0;
    Daemon *daemon = nullptr;    // who has it: waiting there, or sent
    Channel *channel = nullptr;  // set while it is on the wire
    std::int64_t queued_us = 0;
    std::int64_t sent_us = 0;
    int attempts = 0;
    bool is_reserved = false;  // charged to the limits of its daemon, and not sent yet
    bool is_probe = false;     // of a breaker that is half open
    bool lasts = false;        // a stream, as its daemon's turns know it
    bool is_called_back = false;  // to be sent again later, once the daemon has said that it stopped
    bool has_waited = false;   // for the limits of daemons
    std::uint64_t sharing = 0;  // the message it shares with others; 0: it has its own
    std::uint64_t company = 0;  // with whom alone it may share one, since a message of more came to nothing; 0: with anybody
    std::uint64_t avoided_tenure = 0;  // of the daemon that must not have it again: its account has nothing left; 0: none
    std::string failure;  // why the last attempt came to nothing
    std::string backlog;  // of a stream: text the session has not made room for yet
    bool paused = false;  // a stream that is held up until there is none
};

class Flights {
public:
    Flights(const shmem::Segment &segment, void (*wake)(std::int32_t owner));

    [[nodiscard]] Flight &of(shmem::SlotId id) { return flights_[id.index]; }
    [[nodiscard]] shmem::Slot &slot(shmem::SlotId id);
    [[nodiscard]] const shmem::Segment &segment() const { return segment_; }
    [[nodiscard]] std::uint32_t active() const { return active_; }

    // Queued → Inflight and a record of it; false if the session has given up.
    [[nodiscard]] bool begin(shmem::SlotId id, std::int64_t now_us);
    // The record of a request still in the gateway's hands, or null.
    [[nodiscard]] Flight *find(shmem::SlotId id);
    // True if the session still wants it.
    [[nodiscard]] bool is_wanted(shmem::SlotId id);

    // A piece of a stream's text: to the session, or behind what it has not taken yet.
    enum class Backlog { Short, Long, TooLong };  // Long: time to hold up the daemon; TooLong: more than is kept
    [[nodiscard]] Backlog deliver_piece(shmem::SlotId id, std::string_view text, std::int64_t now_us);
    // The session may have made room.
    void forward_backlog(shmem::SlotId id);

    // The answer, or the end of a stream: behind what is left of its text.
    void deliver(shmem::SlotId id, std::string_view body, std::int64_t now_us);
    void fail(shmem::SlotId id, shmem::Outcome outcome, const core::Problem &problem, std::int64_t now_us);
    // The session gave it up: frees the slot.
    void drop(shmem::SlotId id);
    // The same of one that there is no record of.
    void reclaim(shmem::SlotId id);
    // It is not sent where it was going: what it was charged there is given back.
    void cancel_reservation(shmem::SlotId id, std::int64_t now_us);

    // Wakes the sessions whose requests have ended since the last call, and those for which there is room now. Once per pass, not per
    // request: a session woken at once takes the processor from the gateway, and the rest of the batch waits.
    void wake_owners();

private:
    void free_request(shmem::SlotId id);
    [[nodiscard]] bool has_share(shmem::SlotId id, std::size_t bytes);
    [[nodiscard]] bool put_piece(shmem::SlotId id, std::string_view text);
    void wake_later(std::int32_t owner);
    void finish(shmem::SlotId id, shmem::Outcome outcome, std::int64_t now_us);
    void forget(shmem::SlotId id);

    const shmem::Segment &segment_;
    void (*wake_)(std::int32_t owner);
    std::vector<Flight> flights_;
    std::vector<std::int32_t> to_wake_;
    std::uint32_t active_ = 0;
    bool has_freed_ = false;  // slots or payload memory, since sessions that wait for them were called
};

}  // namespace steadytext::gateway
