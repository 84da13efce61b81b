// Puts a custom scan in the place of a node that makes calls for each row, or under it: see read_ahead.hpp.
//
//     before                 after
//
//     Seq Scan               Custom Scan: the list, the conditions from the first call on
//       list, conditions       -> Seq Scan: columns, the conditions before
//
// A scan, join, window or Gather that makes calls is parted: it keeps the conditions before the first call and gives plain
// columns and values of window functions, and the custom scan above it has the other conditions and the list. Under an
// aggregate or a Result the custom scan hands on rows as they are; where there is a custom scan already, it asks for their calls too.
//
// Called by read_ahead_plan.cpp, for each node after the nodes below it. Regime: pg.
#pragma once

#include "src/planner/read_ahead.hpp"
#include "src/planner/row_by_row.hpp"

namespace steadytext::planner {

// The work on a statement's plan.
struct Placing {
    PlannedStmt *statement;
    Ground ground;
    int last_id;             // of the plan's nodes
    List *scans = NIL;       // that were placed
    List *extensible = NIL;  // of them, with their calls: those to which calls of the node above can be added
    Noted *noted = nullptr;
};

[[nodiscard]] bool is_join(const Plan *plan);

// The node, or the scan above it.
[[nodiscard]] Plan *part(Placing &placing, Plan *plan, const Reading &reading);
// Of an Agg, or of a Result with a node below.
void ask_below(Placing &placing, Plan *plan, const Reading &reading);
// All calls of the node are made in their turn.
void leave_in_turn(Placing &placing, const Plan *plan, const char *reason);

}  // namespace steadytext::planner
