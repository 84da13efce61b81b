// The requests that the gateway has in hand: a record per slot, and the only ways to end a request.
//
// Called by bgworker/gateway.cpp and bgworker/daemon.cpp. Regime: pure except for setting a session's latch, which
// cannot raise. The slot word (shmem/slot_table.hpp) decides every race with the session; these records are the
// gateway's private memory.
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
    bool is_background = false;
    bool goes_behind = false;    // its daemon knows what is in the background, and puts it behind the others itself
    Daemon *daemon = nullptr;    // the daemon that has it: it waits there, or was sent
    Channel *channel = nullptr;  // set while it is on the wire
    std::int64_t queued_us = 0;
    std::int64_t sent_us = 0;
    int attempts = 0;
    bool is_reserved = false;     // charged to the limits of its daemon, and not sent yet
    bool is_probe = false;        // of a half-open breaker
    bool lasts = false;           // a stream, for the turns of its daemon
    bool is_called_back = false;  // to be sent again, once the daemon has confirmed that it stopped
    bool has_waited = false;      // for the limits of daemons
    std::uint64_t sharing = 0;    // number of its shared message; 0: it has its own message
    // It may share a message only with requests of this number, as a larger message failed; 0: with any request
    std::uint64_t company = 0;
    std::uint64_t avoided_tenure = 0;  // tenure of a daemon that must not get it again: its account is used up; 0: none
    std::string failure;               // why the last attempt failed
    std::string backlog;               // of a stream: text that the session has no room for yet
    bool paused = false;               // the stream is paused until the backlog is empty
};

class Flights {
public:
    Flights(const shmem::Segment &segment, void (*wake)(std::int32_t owner));

    [[nodiscard]] Flight &of(shmem::SlotId id) { return flights_[id.index]; }
    [[nodiscard]] shmem::Slot &slot(shmem::SlotId id);
    [[nodiscard]] const shmem::Segment &segment() const { return segment_; }
    [[nodiscard]] std::uint32_t active() const { return active_; }

    // Queued → Inflight, and makes its record; false if the session has given up.
    [[nodiscard]] bool begin(shmem::SlotId id, std::int64_t now_us);
    // The record of a request that the gateway still has, or null.
    [[nodiscard]] Flight *find(shmem::SlotId id);
    // True if the session still wants it.
    [[nodiscard]] bool is_wanted(shmem::SlotId id);

    // Delivers a piece of a stream's text to the session, or appends it to the backlog.
    enum class Backlog { Short, Long, TooLong };  // Long: the daemon must be paused; TooLong: more than is kept
    [[nodiscard]] Backlog deliver_piece(shmem::SlotId id, std::string_view text, std::int64_t now_us);
    // The session may have made room.
    void forward_backlog(shmem::SlotId id);

    // Delivers the answer, or the end of a stream after the rest of its text.
    void deliver(shmem::SlotId id, std::string_view body, std::int64_t now_us);
    void fail(shmem::SlotId id, shmem::Outcome outcome, const core::Problem &problem, std::int64_t now_us);
    // The session gave up the request: frees the slot.
    void drop(shmem::SlotId id);
    // As drop(), for a request without a record.
    void reclaim(shmem::SlotId id);
    // When a request of any other role was last answered.
    [[nodiscard]] std::int64_t answered_beside_us(std::uint32_t role) const {
        return answered_[answered_[0].role == role ? 1 : 0].at_us;
    }
    // The request is not sent to its daemon: the charges for that daemon are given back.
    void cancel_reservation(shmem::SlotId id, std::int64_t now_us);

    // Wakes the sessions whose requests have ended since the last call, and sessions in line for room that is free now.
    // Called once per pass, not per request: a session woken at once would take the processor from the gateway while
    // the rest of the batch waits.
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
    struct Answered {
        std::uint32_t role = 0;
        std::int64_t at_us = 0;
    };
    Answered answered_[2];  // the last answer, and the last answer of another role
    std::uint32_t active_ = 0;
    bool has_freed_ = false;  // slots or payload memory were freed since sessions in line were called
};

}  // namespace steadytext::gateway
