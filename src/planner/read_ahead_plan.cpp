// Goes through a finished plan, and tells each node that makes calls for its rows how many of them are wanted: see
// read_ahead.hpp. place_scans.cpp puts the custom scans there. Regime: pg.
#include "src/planner/read_ahead.hpp"
#include "src/guc.hpp"
#include "src/planner/find_calls.hpp"
#include "src/planner/calm.hpp"
#include "src/planner/cursor_place.hpp"
#include "src/planner/place_scans.hpp"
#include "src/planner/reorder.hpp"
#include "src/pg/nodes.hpp"

extern "C" {
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/planner.h"
#include "tcop/tcopprot.h"
#include "utils/syscache.h"
}

#include <algorithm>

namespace steadytext::planner {

using pg::as;

namespace {

planner_hook_type next_planner = nullptr;

// ---- plans ----------------------------------------------------------------------------------------------------------

// The rows of a plan that are wanted.
struct Want {
    bool some = true;  // false: perhaps a single row, and then the rest is dropped
    Reading reading{};
    bool marks = false;  // a merge join goes back in them
};

Plan *visit(Placing &placing, Plan *plan, const Want &want);

// All of them, once.
Want every_row(bool is_top) {
    return {.some = true,
            .reading = {.is_whole = true,
                        .is_top = is_top,
                        .most = 0,
                        .processes = 1,
                        .are_all_calls = false,
                        .tests = NIL,
                        .parents = NIL,
                        .guards = NIL},
            .marks = false};
}

Want without_limits(Want want) {
    want.reading.is_top = false;
    want.reading.most = 0;
    return want;
}

Want all_of_it(const Want &want) {
    Want more = without_limits(want);
    more.some = more.reading.is_whole = true;
    more.marks = false;
    return more;
}

Want some_of_it(const Want &want) {
    Want less = without_limits(want);
    less.reading.is_whole = false;
    return less;
}

Want hardly_any(const Want &want) {
    Want less = without_limits(want);
    less.some = less.reading.is_whole = false;
    return less;
}

std::int64_t constant(const Node *node, std::int64_t if_missing) {
    if (node == nullptr)
        return if_missing;
    const auto *value = IsA(node, Const) ? as<Const>(node) : nullptr;
    return value == nullptr || value->constisnull ? -1 : DatumGetInt64(value->constvalue);
}

Want want_of_limit(const Limit &limit, const Want &want) {
    Want less = some_of_it(want);
    const std::int64_t count = constant(limit.limitCount, -1), offset = constant(limit.limitOffset, 0);
    if (count > 0 && offset >= 0 && count < INT32_MAX && offset < INT32_MAX && limit.limitOption == LIMIT_OPTION_COUNT)
        less.reading.most = count + offset;
    return less;
}

Want want_of_inner(const Join &join, const Want &want) {
    const bool stops_early = join.inner_unique || join.jointype == JOIN_SEMI || join.jointype == JOIN_ANTI;
    return stops_early ? hardly_any(want) : without_limits(want);
}

// The processes share the room for calls under way.
Want want_of_worker(const Want &want, int workers) {
    Want mine = without_limits(want);
    mine.reading.processes = workers + 1;
    return mine;
}

void visit_list(Placing &placing, List *plans, const Want &want) {
    ListCell *cell;
    foreach (cell, plans)
        lfirst(cell) = visit(placing, static_cast<Plan *>(lfirst(cell)), want);
}

void visit_inputs(Placing &placing, Plan *plan, const Want &want) {
    const auto visit_left = [&](const Want &of_left) { plan->lefttree = visit(placing, plan->lefttree, of_left); };
    const auto visit_right = [&](const Want &of_right) { plan->righttree = visit(placing, plan->righttree, of_right); };
    switch (nodeTag(plan)) {
    case T_ModifyTable:
    case T_Sort:
        return visit_left(all_of_it(want));
    case T_Hash:  // all or, if the other side has no rows, nothing
        return visit_left(all_of_it(want));
    case T_Limit:
        return visit_left(want_of_limit(*reinterpret_cast<Limit *>(plan), want));
    case T_Result:
        return visit_left(plan->qual == NIL ? want : without_limits(want));
    case T_LockRows:
    case T_ProjectSet:
    case T_IncrementalSort:
    case T_Material:
    case T_Unique:
    case T_Group:
        return visit_left(without_limits(want));
    case T_WindowAgg:
        return visit_left(some_of_it(want));
    case T_Agg: {
        const auto *aggregate = reinterpret_cast<Agg *>(plan);
        return visit_left(aggregate->aggstrategy == AGG_PLAIN || aggregate->aggstrategy == AGG_HASHED
                              ? all_of_it(want)
                              : without_limits(want));
    }
    case T_Gather:
        return visit_left(want_of_worker(want, reinterpret_cast<Gather *>(plan)->num_workers));
    case T_GatherMerge:
        return visit_left(want_of_worker(want, reinterpret_cast<GatherMerge *>(plan)->num_workers));
    case T_SubqueryScan: {
        auto *scan = reinterpret_cast<SubqueryScan *>(plan);
        scan->subplan = visit(placing, scan->subplan, plan->qual == NIL ? want : without_limits(want));
        return;
    }
    case T_Append:
        return visit_list(placing, reinterpret_cast<Append *>(plan)->appendplans, without_limits(want));
    case T_MergeAppend:
        return visit_list(placing, reinterpret_cast<MergeAppend *>(plan)->mergeplans, without_limits(want));
    case T_NestLoop:
        visit_left(without_limits(want));
        return visit_right(want_of_inner(*reinterpret_cast<Join *>(plan), want));
    case T_HashJoin: {  // if the inner side has no rows, the outer side is left after its first
        const JoinType type = reinterpret_cast<Join *>(plan)->jointype;
        const bool takes_all = type == JOIN_LEFT || type == JOIN_ANTI || type == JOIN_FULL;
        visit_left(takes_all ? without_limits(want) : some_of_it(want));
        return visit_right(all_of_it(want));
    }
    case T_MergeJoin: {
        visit_left(some_of_it(want));
        Want inner = some_of_it(want);
        inner.marks = true;
        return visit_right(inner);
    }
    default:
        return;
    }
}

// Subplans that are run once, on their own: a CTE, a value, an array.
void visit_subplans(Placing &placing, const Plan *plan) {
    for (const SubPlan *subplan : pg::each<const SubPlan>(plan->initPlan)) {
        Want want = every_row(false);
        if (subplan->subLinkType == CTE_SUBLINK || subplan->subLinkType == EXPR_SUBLINK)
            want = some_of_it(want);
        else if (subplan->subLinkType != ARRAY_SUBLINK)
            continue;
        ListCell *place = list_nth_cell(placing.statement->subplans, subplan->plan_id - 1);
        lfirst(place) = visit(placing, static_cast<Plan *>(lfirst(place)), want);
    }
}

bool makes_calls_by_itself(const Plan *plan) {
    switch (nodeTag(plan)) {
    case T_SeqScan:
    case T_IndexScan:
    case T_IndexOnlyScan:
    case T_BitmapHeapScan:
    case T_TidScan:
    case T_TidRangeScan:
    case T_SubqueryScan:
    case T_FunctionScan:
    case T_ValuesScan:
    case T_CteScan:
    case T_Gather:
    case T_GatherMerge:
        return true;
    case T_WindowAgg:  // its conditions are about columns by their numbers
        return plan->qual == NIL && run_condition_of(*as<WindowAgg>(plan)) == nullptr;
    default:
        return is_join(plan);
    }
}

bool is_wanted_once(const Want &want) { return want.some && !want.marks; }

Plan *visit(Placing &placing, Plan *plan, const Want &want) {
    if (plan == nullptr)
        return nullptr;
    check_stack_depth();
    visit_subplans(placing, plan);
    visit_inputs(placing, plan, want);
    if (is_wanted_once(want) && makes_calls_by_itself(plan) && !plan->async_capable)
        return part(placing, plan, want.reading);
    if (plan->lefttree != nullptr && (IsA(plan, Agg) || (IsA(plan, Result) && is_wanted_once(want))))
        ask_below(placing, plan, want.reading);
    else
        leave_in_turn(placing, plan,
                      is_wanted_once(want) ? "it is not asked ahead in this place of the plan"
                                           : "its rows are looked at again, or one of them is enough");
    return plan;
}

// ---- the statement --------------------------------------------------------------------------------------------------

// The functions of extensions that the plan depends on; calls of this extension are among them.
bool uses_functions(const PlannedStmt &statement) {
    for (const PlanInvalItem *each : pg::each<const PlanInvalItem>(statement.invalItems))
        if (each->cacheId == PROCOID)
            return true;
    return false;
}

// Each plan node has a number; no more nodes than this were made.
int most_nodes(const Plan *plan);

int most_nodes_of(const List *plans) {
    int most = 0;
    for (const Plan *each : pg::each<const Plan>(plans))
        most = std::max(most, most_nodes(each));
    return most;
}

int most_nodes(const Plan *plan) {
    if (plan == nullptr)
        return 0;
    int most = std::max({plan->plan_node_id, most_nodes(plan->lefttree), most_nodes(plan->righttree)});
    switch (nodeTag(plan)) {
    case T_Append:
        return std::max(most, most_nodes_of(as<Append>(plan)->appendplans));
    case T_MergeAppend:
        return std::max(most, most_nodes_of(as<MergeAppend>(plan)->mergeplans));
    case T_BitmapAnd:
        return std::max(most, most_nodes_of(as<BitmapAnd>(plan)->bitmapplans));
    case T_BitmapOr:
        return std::max(most, most_nodes_of(as<BitmapOr>(plan)->bitmapplans));
    case T_SubqueryScan:
        return std::max(most, most_nodes(as<SubqueryScan>(plan)->subplan));
    case T_CustomScan:
        return std::max(most, most_nodes_of(as<CustomScan>(plan)->custom_plans));
    default:
        return most;
    }
}

void read_ahead(PlannedStmt *statement, const CallsOfStatement &calls, Noted *noted) {
    Placing placing{statement, ground_of(*statement),
                    std::max(most_nodes(statement->planTree), most_nodes_of(statement->subplans))};
    const Node *culprit = nullptr;
    placing.ground.culprit = noted != nullptr ? &culprit : nullptr;
    placing.noted = noted;
    const Want want = every_row(true);
    statement->planTree = visit(placing, statement->planTree, want);
    if (noted != nullptr)
        put_into_words(*noted, *statement);
    if (list_length(placing.scans) != 1 || calls.may_be_others)
        return;
    auto *scan = static_cast<CustomScan *>(linitial(placing.scans));
    Reading reading = read_reading(scan->custom_private);
    reading.are_all_calls = list_length(scan->custom_exprs) == calls.known;
    scan->custom_private = write_reading(reading);
}

PlannedStmt *plan(Query *query, const char *text, int options, ParamListInfo parameters) {
    Noted *noted = told_of(query);
    const bool reads_ahead = guc::read_ahead || (noted != nullptr && noted->reads_ahead);
    const CallsOfStatement calls = reads_ahead ? calls_of_statement(query) : CallsOfStatement();
    PlannedStmt *statement = next_planner != nullptr ? next_planner(query, text, options, parameters)
                                                     : standard_planner(query, text, options, parameters);
    if (!(reads_ahead || guc::reorder) || !uses_functions(*statement) || statement->planTree == nullptr)
        return statement;
    const bool stays = needs_its_place(options, *statement);
    if (guc::reorder)
        put_calls_after_joins(statement, ground_of(*statement));
    if (reads_ahead && !stays)
        read_ahead(statement, calls, noted);
    return statement;
}

}  // namespace

PlannedStmt *plan_with_calls(Query *query, const char *text, List *&row_by_row) {
    PlannedStmt *volatile planned = nullptr;
    Noted noted{.query = query, .reads_ahead = true};
    Noted *others = tell(&noted);
    PG_TRY();
    { planned = pg_plan_query(query, text, 0, nullptr); }
    PG_FINALLY();
    { (void)tell(others); }
    PG_END_TRY();
    row_by_row = noted.calls;
    return planned;
}

List *write_reading(const Reading &reading) {
    const auto most = static_cast<int>(std::min<std::int64_t>(reading.most, INT32_MAX));
    List *numbers = list_make5(makeInteger(reading.is_whole), makeInteger(reading.is_top), makeInteger(most),
                               makeInteger(reading.processes), makeInteger(reading.are_all_calls));
    return list_make4(numbers, reading.tests, reading.parents, reading.guards);
}

Reading read_reading(const List *list) {
    const auto *numbers = static_cast<const List *>(linitial(list));
    return {intVal(linitial(numbers)) != 0,    intVal(lsecond(numbers)) != 0,     intVal(lthird(numbers)),
            intVal(lfourth(numbers)),          intVal(list_nth(numbers, 4)) != 0, static_cast<List *>(lsecond(list)),
            static_cast<List *>(lthird(list)), static_cast<List *>(lfourth(list))};
}

void install_read_ahead(std::span<const session::ahead::Function *const> functions) {
    find_calls_of(functions);
    register_scan();
    install_row_by_row();
    next_planner = planner_hook;
    planner_hook = plan;
}

}  // namespace steadytext::planner
