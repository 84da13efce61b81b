// What may be done ahead of the executor without anybody noticing: expressions that raise nothing and change nothing,
// and plans whose rows can be read early.
//
// Called by read_ahead_plan.cpp. Regime: pg. Doubt is "no": then calls are made in their turn, as always.
#pragma once

#include "src/pg/postgres.hpp"

extern "C" {
#include "nodes/plannodes.h"
}

namespace steadytext::planner {

// The statement, and parameters of the executor whose values raise nothing and have no effects: those that a nested loop
// hands to its inner side, and subqueries, run when they are first looked at, that are calm throughout.
struct Ground {
    const PlannedStmt *statement;
    const Bitmapset *given;
};
[[nodiscard]] Ground ground_of(const PlannedStmt &statement);

// To evaluate it raises nothing, whatever the row, and has no effects. A list is harmless if all in it is.
[[nodiscard]] bool is_harmless(const void *expression, const Ground &ground);

// To read rows of this plan early raises nothing that reading them in their turn would not have raised before its first
// row, and has no effects. `but_for_output`: leaves out the target list and the quals of the plan itself.
[[nodiscard]] bool is_calm(const Plan *plan, const Ground &ground, bool but_for_output = false);

// The same for all of the plan, what is read whole before its first row too: it may be run for nobody.
[[nodiscard]] bool is_calm_throughout(const Plan *plan, const PlannedStmt &statement);

}  // namespace steadytext::planner
