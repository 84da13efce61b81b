// Expressions that may be evaluated ahead of the executor without anybody noticing: they raise nothing and change nothing.
//
// Called by calm.cpp, find_calls.cpp and read_ahead_plan.cpp. Regime: pg. Doubt is "no".
#pragma once

#include "src/pg/postgres.hpp"

extern "C" {
#include "nodes/plannodes.h"
}

namespace steadytext::planner {

// The statement, and parameters of the executor whose values raise nothing and have no effects: the parameters that a nested loop
// hands to its inner side, and subqueries, run when they are first looked at, that are calm throughout.
struct Ground {
    const PlannedStmt *statement;
    const Bitmapset *given;
    // Left: of nodes, for all that is asked about the statement, as a part of a plan may be used many times.
    int *looks;
    const Node **culprit = nullptr;  // of the last "no": the part of an expression that is not harmless
};
// False once there are none left: then the answer is "no". Serves interrupts.
[[nodiscard]] bool looks_on(const Ground &ground);

// Takes a look for each node of the expression, and for each 64 bytes of a constant, before something is done that goes through all of them.
[[nodiscard]] bool may_look_at(const void *expression, const Ground &ground);

// To evaluate it raises nothing, whatever the row, and has no effects. A list is harmless if all in it is.
[[nodiscard]] bool is_harmless(const void *expression, const Ground &ground);

// The same of comparisons of values in a sort or a group, row by row.
[[nodiscard]] bool are_harmless_operators(const Oid *operators, int count);

}  // namespace steadytext::planner
