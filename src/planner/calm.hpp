// Plans that can be read early without anybody noticing: to do so raises nothing and changes nothing.
//
// Called by read_ahead_plan.cpp and explain_calls.cpp; harmless.cpp asks it about the subqueries of expressions. Regime: pg.
// Doubt is "no": then calls are made in their turn, as always.
#pragma once

#include "src/planner/harmless.hpp"

namespace steadytext::planner {

[[nodiscard]] Ground ground_of(const PlannedStmt &statement);

// To read rows of this plan early raises nothing that reading them in their turn would not have raised before its first
// row, and has no effects. `but_for_output`: leaves out the target list and the quals of the plan itself.
[[nodiscard]] bool is_calm(const Plan *plan, const Ground &ground, bool but_for_output = false);

// The same for all of the plan, with parts that are read whole before its first row: it may be run for nobody.
[[nodiscard]] bool is_calm_throughout(const Plan *plan, const PlannedStmt &statement);
[[nodiscard]] bool is_calm_throughout_but_for_output(const Plan *plan, const Ground &ground);

// Gives a truth or a single value, and is calm throughout.
[[nodiscard]] bool gives_harmlessly(const SubPlan &subplan, const Ground &ground);

// In version 14 there is none.
template <class Window>
[[nodiscard]] const void *run_condition_of(const Window &window) {
    if constexpr (requires { window.runCondition; })
        return window.runCondition;
    else
        return nullptr;
}

}  // namespace steadytext::planner
