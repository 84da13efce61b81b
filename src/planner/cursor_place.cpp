// MOVE, FETCH PRIOR, WHERE CURRENT OF: see cursor_place.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/planner/cursor_place.hpp"

extern "C" {
#include "executor/executor.h"
#include "nodes/parsenodes.h"
}

namespace steadytext::planner {

namespace {

// WHERE CURRENT OF looks for the row of a table here.
bool has_current_row(const Plan *plan) {
    if (plan == nullptr)
        return false;
    switch (nodeTag(plan)) {
    case T_Agg:
    case T_Group:
    case T_Gather:
    case T_GatherMerge:
    case T_HashJoin:
    case T_IncrementalSort:
    case T_Material:
    case T_MergeJoin:
    case T_NestLoop:
    case T_ProjectSet:
    case T_Sort:
    case T_Unique:
    case T_WindowAgg:
    case T_FunctionScan:
    case T_ValuesScan:
    case T_CteScan:
        return false;
    case T_Result:
    case T_Limit:
        return has_current_row(plan->lefttree);
    case T_SubqueryScan:
        return has_current_row(reinterpret_cast<const SubqueryScan *>(plan)->subplan);
    default:
        return true;
    }
}

}  // namespace

// A cursor of DECLARE or OPEN, not a loop's, that may be moved back or whose row a statement may name. A cursor that says
// nothing of moving back can be moved if its plan can.
bool needs_its_place(int cursor_options, const PlannedStmt &statement) {
    constexpr int kOfCursors = CURSOR_OPT_SCROLL | CURSOR_OPT_FAST_PLAN | CURSOR_OPT_HOLD;
    if ((cursor_options & kOfCursors) == 0)
        return false;
    return (cursor_options & CURSOR_OPT_SCROLL) != 0 || statement.rowMarks != NIL ||
           has_current_row(statement.planTree) ||
           ((cursor_options & CURSOR_OPT_NO_SCROLL) == 0 && ExecSupportsBackwardScan(statement.planTree));
}

}  // namespace steadytext::planner
