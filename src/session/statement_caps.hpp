// Caps of a statement: how many calls it may make, and how many tokens they may need (steadytext.max_calls_per_statement,
// steadytext.max_tokens_per_statement).
//
//   charge(...)       before a call that the cache did not answer goes on; false: it would be one too many
//   refuse(...)       then
//   settle(...)       its tokens are known, or it was not made
//
// Called by running_call.cpp, and by statement.cpp as levels of statements begin. Regime: pg.
//
// A statement is all that a message of the client's has the server run: the statements of its functions and of triggers
// that were put off count with it. The sums are in the leader's note in shared memory (shmem/parallel_notes.hpp), and so
// are the caps in force, so that parallel workers count together. A sum grows by compare-and-swap, never beyond the cap.
//
// A cap is the lower of two settings: one that only superusers set, and one that a role sets by itself. A single setting
// that a role may lower cannot tell who wrote the role's row in pg_db_role_setting, which the role may change or RESET.
#pragma once

#include "src/pg/postgres.hpp"
#include "src/session/limits.hpp"

namespace steadytext::session::caps {

// What a call has charged.
struct Charge {
    std::uint64_t statement = 0;  // 0: nothing
    std::int64_t tokens = 0;
};

// A level of statements begins: the caps of its settings are in force. A restore has none (restore.hpp).
void begin_level();
// In a parallel worker: the leader restores.
[[nodiscard]] bool leader_lets_through();

// False, and nothing is charged, if the call would be one too many. A call is charged once.
[[nodiscard]] bool charge(const Spending &spending, Charge &charge);
// Raises 53400, with the call's limits as if it had never been admitted; with steadytext.on_cap = warn, warns once per
// statement, and the call may go on.
void refuse(const Spending &spending, Quota &quota);
// Nothing is to be refused any more: the statement has warned.
[[nodiscard]] bool has_let_go();
// When a call may be made ahead of its turn, as in limits.hpp.
[[nodiscard]] Turn turn_of(const Spending &spending, std::int64_t under_way);

// The call is over; kUnknownTokens: the estimate stays. Settling twice is harmless.
void settle(Charge &charge, std::int64_t tokens);
// It was not made.
void withdraw(Charge &charge);

}  // namespace steadytext::session::caps
