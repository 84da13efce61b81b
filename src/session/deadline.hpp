// How long a call may wait: steadytext.request_timeout from its first wait, for all its waits together.
//
// Held by a call (src/session/model_call.hpp). Regime: pg, but nothing raises. A rate limit, another session's request
// for the same answer, a daemon: each gets the time that is left, so that no call takes twice its time because it
// waited in two places. The time begins with the first wait, not with the call, because a call that the cache answers
// need not look at the clock.
#pragma once

#include "src/core/clock.hpp"
#include "src/guc.hpp"

namespace steadytext::session {

[[nodiscard]] inline std::int64_t deadline_from_now() {
    return core::monotonic_us() + std::int64_t{guc::request_timeout_ms} * 1000;
}

class Deadline {
public:
    [[nodiscard]] std::int64_t us() {
        if (us_ == 0)
            us_ = deadline_from_now();
        return us_;
    }
    // Called after a wait for its own session's other calls, not for the server.
    void begin_anew() { us_ = deadline_from_now(); }

private:
    std::int64_t us_ = 0;  // CLOCK_MONOTONIC; 0: it has not waited yet
};

}  // namespace steadytext::session
