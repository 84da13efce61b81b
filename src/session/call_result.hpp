// The result of a call, from the slot in shared memory to the row that SQL gets.
//
// Used by src/session and src/queue. Regime: pure.
#pragma once

#include <cstdint>

namespace steadytext::session {

enum class CallResult : std::uint8_t {
    Answered,  // by a daemon, for this session or for another session that asked the same
    Unshared,  // answered by a model that the key does not name: neither cached nor given to other sessions
    Recalled,  // from the cache
    Skipped,   // NULL: ANALYZE asks the cache only, and the cache had no answer
    Limited,   // refused by a rate limit, and steadytext.on_limit is null
    TimedOut,  // the deadline of this session passed; another session may have more time
    Failed,    // another session would fail as well
};

[[nodiscard]] constexpr bool is_answered(CallResult result) { return result <= CallResult::Recalled; }
[[nodiscard]] constexpr bool has_failed(CallResult result) { return result >= CallResult::TimedOut; }

}  // namespace steadytext::session
