// One request for all sessions of the server that want the same answer at the same time (shmem/single_flight.hpp).
//
// Called by src/session. Regime: pg. Who waits does so on its latch with CHECK_FOR_INTERRUPTS and its own deadline, and leaves
// alone; a leader that is cancelled or times out hands over. Errors leave the flight (PG_ENSURE_ERROR_CLEANUP).
#pragma once

#include "src/session/answer_cache.hpp"
#include "src/core/problem.hpp"

namespace steadytext::session {

// What came of asking a daemon.
enum class Asked {
    Answered,
    Failed,   // and so would others
    TimedOut, // by this session's own deadline: others may have longer
    Private,  // answered, but not what the key stands for: of another model
};

// A request, with what it needs; told how it ended, it fills in `answer` or `problem`.
struct Request {
    Asked (*ask)(void *context, CachedAnswer &answer, core::Problem &problem);
    void *context;
};

enum class Served {
    Asked,   // by this session's own request
    Joined,  // by another's, or by the cache meanwhile
    Failed,
};

[[nodiscard]] Served ask_once(const CacheQuery &query, const Request &request, CachedAnswer &answer, core::Problem &problem);

}  // namespace steadytext::session
