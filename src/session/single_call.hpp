// One request for all sessions of the server that want the same answer at the same time (shmem/single_flight.hpp).
//
// Called by src/session. Regime: pg. Who waits does so on its latch with CHECK_FOR_INTERRUPTS and its own deadline, and leaves
// alone; a leader that is cancelled or times out hands over. Errors leave the flight (PG_ENSURE_ERROR_CLEANUP).
#pragma once

#include "shmem/single_flight.hpp"
#include "src/session/answer_cache.hpp"
#include "src/core/problem.hpp"

namespace steadytext::session {

// What came of asking a daemon.
enum class Asked {
    Answered,
    Failed,   // and so would others
    TimedOut, // by this session's own deadline: others may have longer
    Private,  // answered, but not what the key stands for: of another model
    Limited,  // by rate limits of the daemons: others' may be different
};

// A request, with what it needs; told how it ended, it fills in `answer` or `problem`.
struct Request {
    Asked (*ask)(void *context, CachedAnswer &answer, core::Problem &problem);
    void *context;
    std::int64_t deadline_us;  // of all: waiting for another's request, and making it after all
};

enum class Served {
    Asked,   // by this session's own request
    Joined,  // by another's, or by the cache meanwhile
    Limited,
    Failed,
};

[[nodiscard]] constexpr Served served_by(Asked asked) {
    if (asked == Asked::Limited)
        return Served::Limited;
    return asked == Asked::Answered || asked == Asked::Private ? Served::Asked : Served::Failed;
}

[[nodiscard]] Served ask_once(const CacheQuery &query, const Request &request, CachedAnswer &answer, core::Problem &problem);

// The parts of it, for who has many requests under way (many_calls.hpp) and sees to it that each ticket is left. Nothing is done
// with an empty ticket.

// Who comes to lead looks again: another may have led to the end since. If so the waiters have been told.
[[nodiscard]] bool ended_meanwhile(shmem::SingleFlight::Ticket &ticket, const CacheQuery &query, CachedAnswer &answer);
// Tells those who wait how the leader's request ended.
void tell(shmem::SingleFlight::Ticket &ticket, Asked asked, const CachedAnswer &answer, const core::Problem &problem);
// Takes what the leader told, once poll() says Answered.
void take_told(shmem::SingleFlight::Ticket &ticket, shmem::ValueKind kind, CachedAnswer &answer);
// What a waiter's problem is whose deadline has passed.
void set_waited_too_long(core::Problem &problem);
void leave(shmem::SingleFlight::Ticket &ticket);

}  // namespace steadytext::session
