// Finds calls of this extension's functions in expressions, and whether a statement makes any others.
//
// Called by read_ahead_plan.cpp and read_ahead_scan.cpp. Regime: pg.
#pragma once

#include "src/pg/postgres.hpp"
#include "src/planner/harmless.hpp"
#include "src/session/ahead.hpp"

extern "C" {
#include "nodes/parsenodes.h"
#include "nodes/primnodes.h"
}

#include <span>

namespace steadytext::planner {

// Called by _PG_init. `functions`: those whose calls can be begun ahead.
void find_calls_of(std::span<const session::ahead::Function *const> functions);

// The function behind the OID; null if its calls cannot be begun ahead.
[[nodiscard]] const session::ahead::Function *function_of(Oid function);

// Whether there is a call of such a function in the expression, or the list of expressions.
[[nodiscard]] bool has_call(const void *expression);

struct Collected {
    const Ground &ground;
    List *calls = NIL;
    List *guards = NIL;     // for each call, what must be true of the row for the call to be made; null: nothing
    Expr *guard = nullptr;  // of the expression at hand
};

// Adds the calls that can be begun ahead, and are made for certain when all of the expressions are evaluated and the
// guard is true. A guard is harmless.
void collect_calls(const List *expressions, Collected &calls);
void collect_calls(Node *expression, Collected &calls);
// The same for the arguments of the aggregates in the expressions, which are evaluated for each row of the input.
void collect_calls_of_aggregates(const List *expressions, Collected &calls);

// The calls that a statement makes, as it is written.
struct CallsOfStatement {
    int known = 0;               // times that it names a function whose calls can be begun ahead, with a column
    bool may_be_others = false;  // another function may make calls, or a trigger, or a row's constraints
};
// Before the planner changes it.
[[nodiscard]] CallsOfStatement calls_of_statement(Query *query);

}  // namespace steadytext::planner
