// The kind of statement that a call is part of: whether it stores its rows, whether it only gathers statistics, and how
// its other calls ended. steadytext.on_failure = auto rests on it.
//
// Called by src/session. Regime: pg. Hooks around planner, executor and utility statements keep counts, and a call
// reads them.
//
// A statement stores its rows if it is, or is run by, an INSERT, UPDATE, DELETE, MERGE, a WITH that contains such a
// statement, or a utility statement: CREATE TABLE AS, REFRESH, COPY FROM, CREATE INDEX, ALTER TABLE, ... A utility
// statement that only hands rows on does not store (src/session/statement.cpp has the list). These store too:
//   - the processes of logical replication that apply changes;
//   - maintenance operations, in which PostgreSQL evaluates an index's expressions as the table's owner (in a security
//     restricted operation): VACUUM and autovacuum, brin_summarize_new_values(), amcheck; only ANALYZE does not store;
//   - the planning of such a statement, because the planner makes constants of calls with constant arguments;
//   - the workers of a parallel query, which ask their leader;
//   - all that runs outside of all statements: triggers that were put off until COMMIT, PREPARE TRANSACTION or SET
//     CONSTRAINTS, functions that the fastpath protocol calls, callbacks of the queue, and login triggers. Only a call
//     of this extension's function that the client itself makes by that protocol does not store.
//
// A value may also be stored later: DO and CALL, or a function of a SELECT, take it into a variable first and INSERT it
// then. So a statement that puts values into rows (not a statement that drops, truncates, creates or grants) is an
// error too if it runs inside a statement in which a call got a value in place of an answer. The server cannot see
// three cases: a client that stores with a statement the value that it got from another statement, also through a
// cursor; functions that store by themselves, as setval() and pg_notify() do; and a value in a command's own text.
#pragma once

#include "src/core/problem.hpp"

#include <cstdint>

namespace steadytext::session::statement {

// Called by _PG_init.
void install_hooks();

// The rows of the statement under way may end up in a table or an index.
[[nodiscard]] bool stores_rows();

// ANALYZE is under way, by hand or by autovacuum, and samples rows; VACUUM is not. A caller then gives NULL if the
// answer is not cached; that NULL is dropped from caches as in note_stand_in().
[[nodiscard]] bool is_analyzing();

// steadytext_explain() is under way, or not any more: calls, which the planner makes of constants, are as under ANALYZE.
// Returns what was before.
[[nodiscard]] bool explains(bool is_under_way);

// A run of the executor: a portal may run its plan in several, each for some of the rows.
struct RunOfPlan {
    std::uint64_t number = 0;       // each run has a number of its own
    std::uint64_t rows_wanted = 0;  // 0: all
};
[[nodiscard]] RunOfPlan run_of_plan();  // the innermost
// It evaluates by itself what is under way: no function in a language of its own, such as PL/pgSQL, is between.
[[nodiscard]] bool is_run_itself();

// A call of the statement under way was answered, by a daemon or by the cache.
void note_answer();

// A call of the statement got a value in place of an answer, because of `problem`. PostgreSQL evaluates constant calls
// once and keeps that value: in plans, and in this process's caches of relations and types (index expressions and
// predicates, partition keys, CHECKs of domains). All of them are made anew when they are used next. A call cannot know
// whether it is constant, above all within functions of users, so each stand-in counts.
void note_stand_in(const core::Problem &problem);

// Says in `problem` why it is an error here, and how many calls were answered.
void explain_storing(core::Problem &problem);

}  // namespace steadytext::session::statement
