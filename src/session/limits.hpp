// Rate limits: the only gate for calls that ask a model.
//
//   Quota quota;
//   const Spending spending{CallKind::Embed, model, 1, estimated_tokens(text)};
//   admit(spending, quota, ...)   // Admitted; or when to ask again; or Refused, as steadytext.on_limit says
//   ...
//   settle(quota, tokens_used);   // kUnknownTokens: the estimate stays
//
// If cached answers count (steadytext.limit_cache_hits), the gate is before the cache, else behind it:
// running_call.cpp. The gateway asks the limits of the daemon that it chooses: bind_at_daemons() tells it these limits,
// add_charges() takes over its charges, and refuse_after_all() is for a call for which no daemon had room.
//
// Called by src/session. Regime: pg. Which limits bind a call: limit_rules.hpp; how they are counted:
// shmem/rate_limiter.hpp.
//
// A call that ends without settle(), by ERROR, FATAL or cancel, ends with its transaction or subtransaction: its
// concurrency is free again, and its charges stay. So a Quota may outlive the frame that asked for it, as in
// set-returning functions; but not the transaction.
#pragma once

#include "src/pg/postgres.hpp"
#include "shmem/call_stats.hpp"
#include "shmem/daemon_limits.hpp"
#include "src/core/problem.hpp"
#include "src/session/deadline.hpp"

#include <string_view>

namespace steadytext::session {

// The cost of a call before it asks a model.
struct Spending {
    shmem::CallKind kind;
    std::string_view model;          // by the name daemons know it under, if known
    std::int64_t requests = 1;       // of a batch: its length
    std::int64_t tokens = 0;         // an estimate, until settle()
    Oid login = InvalidOid;          // the role that connected; InvalidOid: this session's
    std::int64_t answer_tokens = 0;  // of `tokens`
};

// The role that connected, whose shares and limits the call uses.
[[nodiscard]] Oid login_of(const Spending &spending);

// An estimate of a text's tokens, before they are counted: four bytes are about a token.
[[nodiscard]] constexpr std::int64_t tokens_of_bytes(std::size_t bytes) {
    return static_cast<std::int64_t>(bytes / 4) + 1;
}
[[nodiscard]] constexpr std::int64_t estimated_tokens(std::string_view text) { return tokens_of_bytes(text.size()); }

inline constexpr std::int64_t kUnknownTokens = -1;

// The part of an admitted call that is to be settled; nothing, unless tokens or concurrency are limited.
struct Quota {
    int place = -1;  // in the session's list
    std::uint64_t number = 0;
};

struct Refusal {
    core::Problem problem;
    std::int64_t wait_us = 0;  // until the call would be admitted; INT64_MAX: never as it is. 0: when another call ends
};

// Asks the limits, of which limit_rules() has some; never waits. Admitted: the call is charged. Refused: raises, or
// warns if steadytext.on_limit is null. With on_limit = wait, a call that has room before its deadline is to ask again:
// Later, at `again_us` (CLOCK_MONOTONIC); WhenWoken, after the end of another session's call, which sets the latch, and
// at `again_us` in any case. AfterOthers: blocked only by this session's own calls (`has_others`); it is not refused.
enum class Admission { Admitted, Refused, Later, WhenWoken, AfterOthers };
[[nodiscard]] Admission admit(const Spending &spending, Quota &quota, bool has_others, Deadline &deadline,
                              std::int64_t &again_us, Refusal &refusal);

// When a call may be made ahead of its turn (ahead.hpp), so that no row is refused, warned of or charged otherwise than
// if each call were made in its turn. Charges nothing. `under_way`: the estimates of this session's calls ahead that are
// still to be settled.
//
// Requests are charged as calls are begun, in the order of their rows. A call's tokens are known at its end, and those
// of later rows are charged by then: so a call is begun early only while there is room for several times the estimates.
// Nor may it hold what other sessions need: calls at once, or the turn at a daemon.
inline constexpr std::int64_t kMaxPerEstimated = 4;  // tokens of a call, as a rule; a template of a chat adds some
enum class Turn : std::uint8_t {
    Any,      // no limit binds the call
    InOrder,  // now, if all calls of the statement before it were made
    Later,    // perhaps when calls under way have ended; in its own turn in any case
    Own,      // in its own turn only
};
[[nodiscard]] Turn turn_of(const Spending &spending, std::int64_t under_way);
// Charges a call that turn_of() lets go ahead. False, and nothing is counted, if another session was faster.
[[nodiscard]] bool admit_ahead(const Spending &spending, Quota &quota);

// From here on the call goes on after its transaction: settle() alone ends it, or the end of the process.
void outlive_transaction(const Quota &quota);

// The limits that bind an admitted call at certain daemons. False, with the problem, if they cannot be counted.
[[nodiscard]] bool bind_at_daemons(const Spending &spending, shmem::DaemonLimits &limits, core::Problem &problem);
// The gateway's charges are settled with the rest.
void add_charges(const Quota &quota, const shmem::DaemonLimits &limits);
// Says in `problem` why the gateway refused the call.
void describe_refusal(const shmem::DaemonLimits &limits, core::Problem &problem);
// It is as if the call had never been admitted; where requests alone are limited, it stays counted as one.
void withdraw(Quota &quota);
// The call was admitted here, and then refused for `problem` at every daemon: it is withdrawn. Comes back only if
// steadytext.on_limit is `null`.
void refuse_after_all(Quota &quota, const core::Problem &problem);

// The call is over. Settling twice is harmless.
void settle(Quota &quota, std::int64_t tokens);

}  // namespace steadytext::session
