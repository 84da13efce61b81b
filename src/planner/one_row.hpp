// Whether a plan gives a single row at most, proven from the plan and the catalog.
//
// By aggregation, by LIMIT, or because it asks for a single value of each column of a unique index (a B-tree that is not
// partial, and not deferrable).
//
// Called by calm.cpp. Regime: pg. Doubt is "no". The planner has locked the tables of the statement, and their indexes
// cannot be dropped or changed before it is planned anew.
#pragma once

#include "src/planner/harmless.hpp"

namespace steadytext::planner {

// Of a plan that is_calm() throughout: its conditions are neither volatile nor of strange operators.
[[nodiscard]] bool has_one_row(const Plan *plan, const Ground &ground);

}  // namespace steadytext::planner
