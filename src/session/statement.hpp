// What kind of statement a call is part of: whether it stores its rows, whether it only gathers statistics, and what became of its
// other calls. steadytext.on_failure = auto rests on it.
//
// Called by src/session. Regime: pg. Hooks around planner, executor and utility statements keep count; a call asks.
//
// A statement stores its rows if it is, or is run by, an INSERT, UPDATE, DELETE, MERGE, a WITH that contains one, or a utility
// statement other than those that only hand rows on (src/session/statement.cpp has the list): CREATE TABLE AS, REFRESH, COPY FROM,
// CREATE INDEX, ALTER TABLE, ... So do the processes of logical replication that apply changes. Planning such a statement counts, as
// the planner makes constants of calls with constant arguments; so do the workers of a parallel query, which ask their leader. So does whatever
// runs outside of all statements, as triggers do that were put off until COMMIT, PREPARE TRANSACTION or SET CONSTRAINTS, functions that the fastpath
// protocol calls, and login triggers; but not a call of ours that the client itself makes by that protocol.
//
// A value may also be stored later: DO and CALL, or a function of a SELECT, take it into a variable first and INSERT it then. So a
// statement that puts values into rows (not one that drops, truncates, creates or grants), run inside one in which a call was given something in
// place of an answer, is an error too. What nobody here can see is a client that stores with one statement what it got from another, also
// through a cursor; functions that store by themselves, as setval() and pg_notify() do; and what a command says in its own text.
#pragma once

#include "src/core/problem.hpp"

#include <cstdint>

namespace steadytext::session::statement {

// Called by _PG_init.
void install_hooks();

// The rows of the statement under way may end up in a table or an index.
[[nodiscard]] bool stores_rows();

// ANALYZE is under way, by hand or by autovacuum. Whoever asks gives NULL if the answer is not cached: it is dropped as note_stand_in() has it.
[[nodiscard]] bool is_analyzing();

// A call of the statement under way was answered, by a daemon or by the cache.
void note_answer();

// A call of it was given something else, because of `problem`. Whoever evaluates constant calls once has that as a constant now: plans, and this process's caches
// of relations and types (index expressions and predicates, partition keys, CHECKs of domains). All of them are made anew when they are used next. Nothing
// tells a call whether it is such a constant's, through functions of users above all, so each stand-in counts.
void note_stand_in(const core::Problem &problem);

// Says in `problem` why it is an error here, and how many calls were answered.
void explain_storing(core::Problem &problem);

}  // namespace steadytext::session::statement
