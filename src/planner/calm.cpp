// Lists of plan nodes that may be read early: see calm.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/planner/calm.hpp"
#include "src/pg/nodes.hpp"
#include "src/planner/one_row.hpp"

extern "C" {
#include "miscadmin.h"
#include "nodes/bitmapset.h"
}

namespace steadytext::planner {

namespace {

// ---- plans ----------------------------------------------------------------------------------------------------------

// The statement, and how far to look.
struct View : Ground {
    bool is_whole;  // what is read whole before its first row too
};

bool is_calm(const Plan *plan, const View &view, bool but_for_output = false);

// Nodes that may be read whole long after the first row of the node above, or again and again.
View throughout(const Ground &ground) { return {ground, true}; }

bool are_calm(const List *plans, const View &view) {
    for (const Plan *each : pg::each<const Plan>(plans))
        if (!is_calm(each, view))
            return false;
    return true;
}

bool are_harmless(const List *functions, const View &view) {
    for (const RangeTblFunction *each : pg::each<const RangeTblFunction>(functions))
        if (!is_harmless(each->funcexpr, view))
            return false;
    return true;
}

bool is_calm_join(const Join &join, const View &view, bool inner_is_read_first) {
    return is_harmless(join.joinqual, view) && is_calm(join.plan.lefttree, view) &&
           is_calm(join.plan.righttree, inner_is_read_first ? view : throughout(view));
}

bool is_calm_aggregate(const Agg &aggregate, const View &view) {
    if (aggregate.groupingSets != NIL || aggregate.chain != NIL ||
        !are_harmless_operators(aggregate.grpOperators, aggregate.numCols))
        return false;
    const bool is_read_whole = aggregate.aggstrategy == AGG_PLAIN || aggregate.aggstrategy == AGG_HASHED;
    return (is_read_whole && !view.is_whole) || is_calm(aggregate.plan.lefttree, view);
}

// A negative count raises an error, and NULL as an offset of a frame.
bool is_harmless_offset(const Node *offset) {
    return offset == nullptr || (IsA(offset, Const) && !reinterpret_cast<const Const *>(offset)->constisnull &&
                                 DatumGetInt64(reinterpret_cast<const Const *>(offset)->constvalue) >= 0);
}

bool is_harmless_limit(const Node *count) {
    return is_harmless_offset(count) || (IsA(count, Const) && reinterpret_cast<const Const *>(count)->constisnull);
}

// Not by a distance of values, which may be beyond the type.
bool is_harmless_frame(const WindowAgg &window) {
    return (window.startOffset == nullptr && window.endOffset == nullptr) ||
           ((window.frameOptions & FRAMEOPTION_ROWS) != 0 && is_harmless_offset(window.startOffset) &&
            is_harmless_offset(window.endOffset));
}

bool is_calm_window(const WindowAgg &window, const View &view) {
    return is_harmless(run_condition_of(window), view) && is_harmless_frame(window) &&
           are_harmless_operators(window.partOperators, window.partNumCols) &&
           are_harmless_operators(window.ordOperators, window.ordNumCols);
}

bool is_calm_input(const Plan *plan, const View &view) {
    return plan->righttree == nullptr && (plan->lefttree == nullptr || is_calm(plan->lefttree, view));
}

// Every field of a node that holds expressions or operators is looked at, or computed whole before the first row. What is
// read whole before its first row, as the input of a sort, is read at the same moment either way; but not on the inner
// side of a nested loop, where that is each time anew, nor in the later inputs of an Append.
bool is_calm_inside(const Plan *plan, const View &view) {
    switch (nodeTag(plan)) {
    case T_SeqScan:
        return true;
    case T_FunctionScan:
        return !view.is_whole || are_harmless(reinterpret_cast<const FunctionScan *>(plan)->functions, view);
    case T_Sort: {
        const auto *sort = reinterpret_cast<const Sort *>(plan);
        return !view.is_whole ||
               (are_harmless_operators(sort->sortOperators, sort->numCols) && is_calm(plan->lefttree, view));
    }
    case T_Hash:
        return !view.is_whole ||
               (is_harmless(reinterpret_cast<const Hash *>(plan)->hashkeys, view) && is_calm(plan->lefttree, view));
    case T_IndexScan: {
        const auto *scan = reinterpret_cast<const IndexScan *>(plan);
        return is_harmless(scan->indexqualorig, view) && is_harmless(scan->indexorderbyorig, view);
    }
    case T_IndexOnlyScan: {
        const auto *scan = reinterpret_cast<const IndexOnlyScan *>(plan);
        return is_harmless(scan->indexqual, view) && is_harmless(scan->indexorderby, view);
    }
    case T_BitmapHeapScan:  // which has the conditions of the indexes below too
        return is_harmless(reinterpret_cast<const BitmapHeapScan *>(plan)->bitmapqualorig, view);
    case T_TidScan:
        return is_harmless(reinterpret_cast<const TidScan *>(plan)->tidquals, view);
    case T_TidRangeScan:
        return is_harmless(reinterpret_cast<const TidRangeScan *>(plan)->tidrangequals, view);
    case T_ValuesScan:
        return is_harmless(reinterpret_cast<const ValuesScan *>(plan)->values_lists, view);
    case T_SubqueryScan:
        return is_calm(reinterpret_cast<const SubqueryScan *>(plan)->subplan, view);
    case T_CteScan:
        return is_calm(static_cast<const Plan *>(
                           list_nth(view.statement->subplans, reinterpret_cast<const CteScan *>(plan)->ctePlanId - 1)),
                       view);
    case T_NestLoop:
        return is_calm_join(*reinterpret_cast<const Join *>(plan), view, false);
    case T_HashJoin: {
        const auto *join = reinterpret_cast<const HashJoin *>(plan);
        return is_harmless(join->hashclauses, view) && is_harmless(join->hashkeys, view) &&
               is_calm_join(join->join, view, true);
    }
    case T_MergeJoin: {  // an outer row without a key may be handed on before the inner side is read
        const auto *join = reinterpret_cast<const MergeJoin *>(plan);
        return is_harmless(join->mergeclauses, view) &&
               is_calm_join(join->join, view, join->join.jointype == JOIN_INNER);
    }
    case T_Append:
        return are_calm(reinterpret_cast<const Append *>(plan)->appendplans, throughout(view));
    case T_MergeAppend: {
        const auto *append = reinterpret_cast<const MergeAppend *>(plan);
        return are_harmless_operators(append->sortOperators, append->numCols) && are_calm(append->mergeplans, view);
    }
    case T_Agg:
        return is_calm_aggregate(*reinterpret_cast<const Agg *>(plan), view);
    case T_IncrementalSort: {
        const auto &sort = reinterpret_cast<const IncrementalSort *>(plan)->sort;
        return are_harmless_operators(sort.sortOperators, sort.numCols) && is_calm_input(plan, view);
    }
    case T_Memoize: {
        const auto *memoize = reinterpret_cast<const Memoize *>(plan);
        return is_harmless(memoize->param_exprs, view) &&
               are_harmless_operators(memoize->hashOperators, memoize->numKeys) && is_calm_input(plan, view);
    }
    case T_Limit: {
        const auto *limit = reinterpret_cast<const Limit *>(plan);
        return (!view.is_whole || (is_harmless_limit(limit->limitCount) && is_harmless_limit(limit->limitOffset))) &&
               are_harmless_operators(limit->uniqOperators, limit->uniqNumCols) && is_calm_input(plan, view);
    }
    case T_Unique: {
        const auto *unique = reinterpret_cast<const Unique *>(plan);
        return are_harmless_operators(unique->uniqOperators, unique->numCols) && is_calm_input(plan, view);
    }
    case T_Group: {
        const auto *group = reinterpret_cast<const Group *>(plan);
        return are_harmless_operators(group->grpOperators, group->numCols) && is_calm_input(plan, view);
    }
    case T_Result:
        return (!view.is_whole || is_harmless(reinterpret_cast<const Result *>(plan)->resconstantqual, view)) &&
               is_calm_input(plan, view);
    case T_WindowAgg:
        return is_calm_window(*reinterpret_cast<const WindowAgg *>(plan), view) && is_calm_input(plan, view);
    case T_GatherMerge: {  // its workers go on whether or not their rows are wanted
        const auto *gather = reinterpret_cast<const GatherMerge *>(plan);
        return are_harmless_operators(gather->sortOperators, gather->numCols) && is_calm_input(plan, view);
    }
    case T_Gather:
    case T_Material:
    case T_ProjectSet:
        return is_calm_input(plan, view);
    default:
        return false;
    }
}

bool is_calm(const Plan *plan, const View &view, bool but_for_output) {
    if (plan == nullptr || !looks_on(view))
        return false;
    check_stack_depth();
    if (!but_for_output && !(is_harmless(plan->targetlist, view) && is_harmless(plan->qual, view)))
        return false;
    return is_calm_inside(plan, view);
}

// ---- parameters of the executor -------------------------------------------------------------------------------------

struct Parameters {
    Bitmapset *given;
    List *subplans;  // that are run when their value is first looked at
};

void find_parameters(const Plan *plan, Parameters &parameters);

void find_parameters(const List *plans, Parameters &parameters) {
    for (const Plan *each : pg::each<const Plan>(plans))
        find_parameters(each, parameters);
}

void find_parameters(const Plan *plan, Parameters &parameters) {
    if (plan == nullptr)
        return;
    parameters.subplans = list_concat(parameters.subplans, plan->initPlan);
    find_parameters(plan->lefttree, parameters);
    find_parameters(plan->righttree, parameters);
    switch (nodeTag(plan)) {
    case T_NestLoop: {
        for (const NestLoopParam *each :
             pg::each<const NestLoopParam>(reinterpret_cast<const NestLoop *>(plan)->nestParams))
            parameters.given = bms_add_member(parameters.given, each->paramno);
        return;
    }
    case T_SubqueryScan:
        return find_parameters(reinterpret_cast<const SubqueryScan *>(plan)->subplan, parameters);
    case T_Append:
        return find_parameters(reinterpret_cast<const Append *>(plan)->appendplans, parameters);
    case T_MergeAppend:
        return find_parameters(reinterpret_cast<const MergeAppend *>(plan)->mergeplans, parameters);
    default:  // any other parameter is not given
        return;
    }
}

}  // namespace

// A subquery's value raises an error if there are several.
bool gives_harmlessly(const SubPlan &subplan, const Ground &ground) {
    const auto *plan = static_cast<const Plan *>(list_nth(ground.statement->subplans, subplan.plan_id - 1));
    if (subplan.subLinkType != EXISTS_SUBLINK && !(subplan.subLinkType == EXPR_SUBLINK && has_one_row(plan, ground)))
        return false;
    Ground within = ground;  // its arguments are looked at where it stands
    ListCell *cell;
    foreach (cell, subplan.parParam)
        within.given = bms_add_member(bms_copy(within.given), lfirst_int(cell));
    return is_calm(plan, throughout(within));
}

bool is_calm(const Plan *plan, const Ground &ground, bool but_for_output) {
    return is_calm(plan, View{ground, false}, but_for_output);
}

bool is_calm_throughout(const Plan *plan, const PlannedStmt &statement) {
    return is_calm(plan, throughout(ground_of(statement)));
}

bool is_calm_throughout_but_for_output(const Plan *plan, const Ground &ground) {
    return is_calm(plan, throughout(ground), true);
}

Ground ground_of(const PlannedStmt &statement) {
    constexpr int kMaxLooks = 100'000;  // ten milliseconds or so
    auto *looks = static_cast<int *>(palloc(sizeof(int)));
    *looks = kMaxLooks;
    Parameters parameters{};
    find_parameters(statement.planTree, parameters);
    find_parameters(statement.subplans, parameters);
    for (bool any = true; any;) {  // a subplan may look at another
        any = false;
        for (const SubPlan *subplan : pg::each<const SubPlan>(parameters.subplans)) {
            if (list_length(subplan->setParam) != 1 ||
                bms_is_member(linitial_int(subplan->setParam), parameters.given) ||
                !gives_harmlessly(*subplan, {&statement, parameters.given, looks}))
                continue;
            parameters.given = bms_add_member(parameters.given, linitial_int(subplan->setParam));
            any = true;
        }
    }
    return {&statement, parameters.given, looks};
}

}  // namespace steadytext::planner
