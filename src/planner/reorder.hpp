// Conditions that make calls are evaluated after joins, where the planner expects these to leave fewer rows, and in the
// order that makes fewer calls (condition_order.hpp).
//
// PostgreSQL evaluates a condition on one table where it reads the table, whatever the condition costs. In a finished
// plan such conditions go up from their scan, or from all parts of a partitioned table, to the join that gives the fewest
// rows: through inner joins, and other joins that keep rows of the side they come from. So do conditions of a join of two
// tables. Everything between is evaluated for more rows then, so it must raise nothing and
// change nothing (calm.hpp). In a statement with row security, or a view with a security barrier, nothing moves.
//
// Called by read_ahead_plan.cpp, before it looks for calls. Regime: pg.
#pragma once

#include "src/planner/harmless.hpp"

namespace steadytext::planner {

void put_calls_after_joins(PlannedStmt *statement, const Ground &ground);

}  // namespace steadytext::planner
