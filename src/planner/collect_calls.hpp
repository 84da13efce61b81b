// Which calls of an expression can be begun ahead of the executor, and when each of them is certain to be made.
//
//     SELECT steadytext_generate(body) FROM t WHERE steadytext_if('...', title) AND n > 3
//            call 1, if call 0 is true               call 0
//
// A call is begun for a row if its guard is true of the row. A guard, and the text that a call asks about, may depend on
// the values of calls before it: there they have a parameter in the place of the call (value_of_call()), which the scan
// fills in once the call has been answered. So a row's calls are begun in the order in which the executor makes them,
// and none that the executor does not make. All but the calls is harmless (harmless.hpp).
//
// Called by read_ahead_plan.cpp. Regime: pg.
#pragma once

#include "src/planner/harmless.hpp"

extern "C" {
#include "nodes/primnodes.h"
}

#include <cstdint>

namespace steadytext::planner {

// Why a call cannot be begun ahead, wherever it stands.
enum class Hindrance : std::uint8_t {
    None,
    OtherArguments,  // those beside its text are not the same for all rows
    SameText,        // it depends on no column
    Text,            // its text might raise an error
};
[[nodiscard]] Hindrance what_hinders(const FuncExpr &call, const Ground &ground);

struct Collected {
    const Ground &ground;
    List *calls = NIL;  // in the order in which they are made; calls within them are parameters
    // The conditions on the row: a guard is true if its parent is, a guard before it (-1: none), and its test.
    List *tests = NIL, *parents = NIL;
    List *guards = NIL;   // for each call, the number of its guard; -1: each row makes it
    int guard = -1;       // of the expression at hand
    List *places = NIL;   // of each call that was met, the node of the expression,
    List *numbers = NIL;  // and its place in `calls`
};

// Adds the calls that can be begun ahead, and are made for certain when the expression is evaluated and the guard is true.
void collect_calls(Node *expression, Collected &calls);
void collect_calls(const List *expressions, Collected &calls);
// The same for the arguments of the aggregates in the expressions, which are evaluated for each row of the input.
void collect_calls_of_aggregates(const List *expressions, Collected &calls);
// The same for conditions one after the other. From then on the guard is that all are true. False if there is a condition
// of which nothing is known before its turn: the conditions behind it stay in their turn too.
[[nodiscard]] bool collect_calls_of_conditions(const List *conditions, Collected &calls);

// The expression over columns and the values of the calls that were collected; null if it may raise an error, or has
// another call. It stands where the guard is true.
[[nodiscard]] Expr *known_ahead(const void *expression, Collected &calls);

// The same expressions with columns in the place of values: the value of the first call is column `first`, of the
// custom scan's own (INDEX_VAR).
[[nodiscard]] List *with_columns_of_values(List *expressions, int first);

}  // namespace steadytext::planner
