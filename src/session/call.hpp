// The session's side of a request: claim a slot (room.hpp), publish it, wait for the gateway, take the answer.
//
// Called by src/functions. Regime: pg. It waits on the process latch with CHECK_FOR_INTERRUPTS and a deadline; cancel,
// timeout, terminate and any error free the slot at once (PG_ENSURE_ERROR_CLEANUP covers ERROR and FATAL).
#pragma once

#include "src/pg/postgres.hpp"
#include "shmem/segment.hpp"
#include "src/core/reply.hpp"
#include "src/session/limits.hpp"

#include <string_view>

namespace steadytext::session {

struct Call {
    shmem::Operation operation;
    std::string_view params;  // JSON object of the wire protocol
    std::string_view model;   // empty: the daemon's default
    bool streaming = false;   // the answer comes in pieces (generation_stream.hpp), then its end
    const Spending *spending = nullptr;  // what the limits of the daemon that gets it are asked for; and
    const Quota *quota = nullptr;        // where it is settled, which outlives the call
    std::int64_t deadline_us = 0;        // CLOCK_MONOTONIC
};

struct Answer {
    bool answered;            // false: `problem` says why not
    bool timed_out;           // by the deadline of this call
    bool was_sent;            // a daemon had it for a while
    bool limited;             // at every daemon that could answer: refuse_after_all() is due
    std::int64_t limit_wait_us = 0;  // if so, as Refusal's (limits.hpp)
    core::Problem problem;
    core::PaddedText body;    // the daemon's message, in CurrentMemoryContext
    std::string_view rest;    // of a stream: text that had come before it and was not taken
    bool streamed = false;    // `body` is the end of a stream that came to `text`
    std::string_view text;
    std::uint16_t daemon;     // row of the daemon table, as long as its tenure is
    std::uint64_t daemon_tenure;
    double queue_ms;          // until it was sent
    double total_ms;
};

// Sends the call and waits for its end, or for its deadline.
void ask(const Call &call, Answer &answer);

// The parts of it, for who has many requests under way (many_calls.hpp) and sees to it that each is let go.
struct Held {
    shmem::SlotId id;
    bool published = false;
    const Quota *quota = nullptr;
    std::int64_t start_us;
    std::int64_t deadline_us;
};
// Waits in line if shared memory has no room for it (room.hpp). False, with the problem, if there is none until its deadline, or if it
// is refused for another reason; then there is nothing to let go.
[[nodiscard]] bool submit(const Call &call, Held &held, core::Problem &problem);
// The same without waiting, and whoever else waits.
enum class Submitted { Yes, NoRoom, Refused };
[[nodiscard]] Submitted submit_now(const Call &call, Held &held, core::Problem &problem);
[[nodiscard]] bool is_done(const Held &held);
// From here to unpin() the slot stays this session's. False if the gateway has taken it back: it is past its deadline.
[[nodiscard]] bool pin(const Held &held);
void unpin(const Held &held);
// Of a stream: gives it steadytext.request_timeout from now. False if the gateway has taken it back.
[[nodiscard]] bool extend(Held &held);
// Points the gateway at a slot that has something for it to do.
void point_at(const Held &held);
// Sleeps until something sets the process latch, interrupts served; false if the deadline has passed.
[[nodiscard]] bool sleep_until_woken(std::int64_t deadline_us);
[[nodiscard]] bool sleep_until_woken(std::int64_t deadline_us, uint32 wait_event);
// Once it is done. Too late, it is as if it were not.
void take_answer(const Held &held, Answer &answer);
void set_timed_out(const Held &held, Answer &answer);
// Whether a daemon has had it; true also of one the gateway has taken back.
[[nodiscard]] bool was_sent(const Held &held);
// Gives the slot back, whatever state it is in: to the gateway if the request is under way, else to the free ones.
void let_go(Held &held, shmem::Abandon because);

// Counts against the daemon that its message could not be read, if that is the problem, or for it that it could; gives `read` back.
[[nodiscard]] bool note_reading(const Answer &answer, bool read, const core::Problem &problem);

}  // namespace steadytext::session
