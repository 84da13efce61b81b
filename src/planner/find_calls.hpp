// Finds calls of this extension's functions in expressions, and whether a statement makes any others.
//
// Called by collect_calls.cpp, read_ahead_plan.cpp, read_ahead_scan.cpp and others of this folder. Regime: pg.
#pragma once

#include "src/pg/postgres.hpp"
#include "src/session/ahead.hpp"

extern "C" {
#include "nodes/parsenodes.h"
#include "nodes/primnodes.h"
}

#include <span>

namespace steadytext::planner {

// Called by _PG_init. `functions`: their calls can be begun ahead.
void find_calls_of(std::span<const session::ahead::Function *const> functions);

// The function behind the OID; null if its calls cannot be begun ahead.
[[nodiscard]] const session::ahead::Function *function_of(Oid function);

// Whether there is a call of such a function in the expression, or the list of expressions.
[[nodiscard]] bool has_call(const void *expression);
// The place of the first with such a call; how many there are if none has.
[[nodiscard]] int first_with_call(const List *expressions);

// The calls that a statement makes, as it is written.
struct CallsOfStatement {
    int known = 0;               // times that it names a function whose calls can be begun ahead, with a column
    bool may_be_others = false;  // another function may make calls, or a trigger, or a row's constraints
};
// Before the planner changes it.
[[nodiscard]] CallsOfStatement calls_of_statement(Query *query);

}  // namespace steadytext::planner
