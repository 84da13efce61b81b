// A session's request in shared memory: given to the gateway in a slot, looked at until it is done, let go.
//
// Called by running_call.cpp (the stages of a call) and generation_stream.cpp (pieces). Regime: pg. Nothing here waits.
// The owner of a PendingSlot calls let_go(), also after an error. shmem/slot_table.hpp draws the states of a slot and
// says which process may write into it.
#pragma once

#include "src/pg/postgres.hpp"
#include "shmem/segment.hpp"
#include "src/core/reply.hpp"
#include "src/session/call_result.hpp"
#include "src/session/limits.hpp"

#include <string_view>

namespace steadytext::session {

// The session's part of a slot.
struct SlotRequest {
    shmem::Operation operation;
    std::string_view params;             // JSON object of the wire protocol
    std::string_view model;              // empty: the daemon's default
    bool streaming = false;              // the answer comes in pieces (generation_stream.hpp), then its end
    bool is_background = false;          // a job of the queue: requests of sessions go first
    const Spending *spending = nullptr;  // charged to the limits of the daemon that gets the request
    const Quota *quota = nullptr;        // settles that charge; outlives the request
    std::int64_t deadline_us = 0;        // CLOCK_MONOTONIC
};

// The gateway's part of a slot.
struct Answer {
    // Answered; or with `problem`: Limited (by each daemon that could answer), TimedOut, Failed.
    CallResult result = CallResult::Failed;
    core::Problem problem;
    bool is_unserved = false;        // Failed, as no daemon serves the model that was asked for
    bool was_sent = false;           // a daemon had it for a while
    std::int64_t limit_wait_us = 0;  // if Limited, as Refusal's (limits.hpp)
    core::PaddedText body;           // the daemon's message, in CurrentMemoryContext
    std::string_view rest;           // of a stream: text that had come before it and was not taken
    bool streamed = false;           // `body` is the end of a stream that came to `text`
    std::string_view text;
    std::uint16_t daemon = 0;  // row of the daemon table, as long as its tenure is
    std::uint64_t daemon_tenure = 0;
    std::size_t kind = 0;    // shmem::kind_of() its operation
    std::uint32_t role = 0;  // that had connected: its share was used
    double queue_ms = 0;     // until it was sent
};

// Plain data; with nothing submitted, let_go() does nothing.
class PendingSlot {
public:
    enum class Submitted { Yes, NoRoom, Refused };
    // Does not wait, and does not look at the line. Unless Yes, there is nothing to let go; Refused sets the problem.
    [[nodiscard]] Submitted submit(const SlotRequest &request, core::Problem &problem);

    // The requests that this process has submitted so far.
    [[nodiscard]] static std::uint64_t submitted();

    [[nodiscard]] bool is_done() const { return shmem::segment().slots->is_done(id_); }
    [[nodiscard]] std::int64_t deadline_us() const { return deadline_us_; }
    // Whether a daemon has had the request; true also if the gateway has taken the slot back.
    [[nodiscard]] bool was_sent() const;
    // When the request is done. Pins the slot until let_go(); if the gateway has taken the slot back, this is
    // timed_out().
    [[nodiscard]] Answer take_answer() const;
    [[nodiscard]] Answer timed_out() const;
    // Gives the slot back in any state: to the gateway if the request is under way, else to the free slots.
    void let_go(shmem::Abandon because);

    // ---- of a stream ----

    [[nodiscard]] shmem::Slot &slot() const { return (*shmem::segment().slots)[id_.index]; }
    // The gateway does not take back the slot before unpin(). False if it has done so: the request is past its
    // deadline.
    [[nodiscard]] bool pin() const { return shmem::segment().slots->pin(id_); }
    void unpin() const { shmem::segment().slots->unpin(id_); }
    // Moves the deadline to steadytext.request_timeout from now. False if the gateway has taken the slot back.
    [[nodiscard]] bool extend();
    // Tells the gateway that there is something to do for this slot.
    void point_at() const;

private:
    [[nodiscard]] bool prepare(const SlotRequest &request, core::Problem &problem);
    [[nodiscard]] bool claim(const SlotRequest &request);
    void publish(const SlotRequest &request);

    shmem::SlotId id_{};
    bool is_published_ = false;
    const Quota *quota_ = nullptr;
    std::int64_t start_us_ = 0;
    std::int64_t deadline_us_ = 0;
};

// Tells the daemon's breaker whether its message could be read. Returns `read`.
[[nodiscard]] bool note_reading(const Answer &answer, bool read, const core::Problem &problem);

}  // namespace steadytext::session
