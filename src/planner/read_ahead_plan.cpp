// Puts custom scans under the nodes of a finished plan that make calls for each row: see read_ahead.hpp. Regime: pg.
//
// A scan, join, window or Gather that makes calls is parted: it keeps the quals before the first call and gives plain columns and
// values of window functions, and the custom scan above it has the other quals and the target list. Under an aggregate or a Result the custom scan hands on
// rows as they are.
#include "src/pg/tree_walk.hpp"
#include "src/planner/read_ahead.hpp"
#include "src/guc.hpp"
#include "src/planner/find_calls.hpp"
#include "src/planner/calm.hpp"
#include "src/planner/columns.hpp"
#include "src/planner/cursor_place.hpp"
#include "src/planner/reorder.hpp"

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

namespace {

planner_hook_type next_planner = nullptr;
bool is_explaining = false;

template <class Node>
const Node *as(const void *node) {
    return static_cast<const Node *>(node);
}

// ---- columns of the custom scan -------------------------------------------------------------------------------------

bool is_record(Oid type) { return type == RECORDOID; }

Var *column_of(const Node *value, int varno, int number) {
    return makeVar(varno, static_cast<AttrNumber>(number), exprType(value), exprTypmod(value), exprCollation(value), 0);
}

// Columns and window functions become columns of the custom scan, by their place in a list of them.
Node *renumbered(Node *node, void *columns) {
    if (node == nullptr)
        return nullptr;
    if (!IsA(node, Var) && !IsA(node, WindowFunc))
        return expression_tree_mutator(node, pg::mutator(renumbered), columns);
    const int place = static_cast<const Columns *>(columns)->place_of(node);
    if (place < 0)
        elog(ERROR, "a column of a plan is not among those of the plan below it");
    return reinterpret_cast<Node *>(column_of(node, INDEX_VAR, place + 1));
}

List *renumbered(const List *nodes, const Columns &columns) {
    return reinterpret_cast<List *>(
        renumbered(reinterpret_cast<Node *>(const_cast<List *>(nodes)), const_cast<Columns *>(&columns)));
}

// As renumbered(), where each column of the plan below has kept its number.
Node *moved(Node *node, void *context) {
    if (node == nullptr)
        return nullptr;
    if (!IsA(node, Var))
        return expression_tree_mutator(node, pg::mutator(moved), context);
    Var *column = static_cast<Var *>(copyObjectImpl(node));
    column->varno = INDEX_VAR;
    return reinterpret_cast<Node *>(column);
}

// The columns of the plan below, as `varno` names them.
List *columns_of(const Plan *plan, int varno) {
    List *entries = NIL;
    ListCell *cell;
    foreach (cell, plan->targetlist) {
        const auto *entry = static_cast<const TargetEntry *>(lfirst(cell));
        const Node *value = reinterpret_cast<const Node *>(entry->expr);
        Var *column = column_of(value, varno, entry->resno);
        char *name = entry->resname != nullptr ? pstrdup(entry->resname) : nullptr;
        entries =
            lappend(entries, makeTargetEntry(reinterpret_cast<Expr *>(column), entry->resno, name, entry->resjunk));
    }
    return entries;
}

bool has_record(const List *entries) {
    ListCell *cell;
    foreach (cell, entries)
        if (is_record(exprType(reinterpret_cast<const Node *>(static_cast<const TargetEntry *>(lfirst(cell))->expr))))
            return true;
    return false;
}

// ---- plans ----------------------------------------------------------------------------------------------------------

// What is wanted of the rows of a plan.
struct Want {
    bool some = true;  // false: perhaps a single row, and then the rest is dropped
    Reading reading{};
    bool marks = false;  // a merge join goes back in them
};

struct Walk {
    PlannedStmt *statement;
    Ground ground;
    int last_id;
    List *scans = NIL;  // that were added
};

Plan *visit(Walk &walk, Plan *plan, const Want &want);

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

// The processes share what may be under way at once.
Want want_of_worker(const Want &want, int workers) {
    Want mine = without_limits(want);
    mine.reading.processes = workers + 1;
    return mine;
}

void visit_list(Walk &walk, List *plans, const Want &want) {
    ListCell *cell;
    foreach (cell, plans)
        lfirst(cell) = visit(walk, static_cast<Plan *>(lfirst(cell)), want);
}

void visit_inputs(Walk &walk, Plan *plan, const Want &want) {
    const auto visit_left = [&](const Want &of_left) { plan->lefttree = visit(walk, plan->lefttree, of_left); };
    const auto visit_right = [&](const Want &of_right) { plan->righttree = visit(walk, plan->righttree, of_right); };
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
        scan->subplan = visit(walk, scan->subplan, plan->qual == NIL ? want : without_limits(want));
        return;
    }
    case T_Append:
        return visit_list(walk, reinterpret_cast<Append *>(plan)->appendplans, without_limits(want));
    case T_MergeAppend:
        return visit_list(walk, reinterpret_cast<MergeAppend *>(plan)->mergeplans, without_limits(want));
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
void visit_subplans(Walk &walk, const Plan *plan) {
    ListCell *cell;
    foreach (cell, plan->initPlan) {
        const auto *subplan = static_cast<const SubPlan *>(lfirst(cell));
        Want want{
            .some = true,
            .reading =
                {.is_whole = true, .is_top = false, .most = 0, .processes = 1, .are_all_calls = false, .guards = NIL},
            .marks = false};
        if (subplan->subLinkType == CTE_SUBLINK || subplan->subLinkType == EXPR_SUBLINK)
            want = some_of_it(want);
        else if (subplan->subLinkType != ARRAY_SUBLINK)
            continue;
        ListCell *place = list_nth_cell(walk.statement->subplans, subplan->plan_id - 1);
        lfirst(place) = visit(walk, static_cast<Plan *>(lfirst(place)), want);
    }
}

CustomScan *make_scan(Walk &walk, const Plan *above_or_same, Plan *below, const Reading &reading) {
    CustomScan *scan = makeNode(CustomScan);
    scan->scan.plan = *above_or_same;  // costs, rows, parameters
    scan->scan.plan.type = T_CustomScan;
    scan->scan.plan.parallel_aware = false;
    scan->scan.plan.async_capable = false;
    scan->scan.plan.plan_node_id = ++walk.last_id;
    scan->scan.plan.lefttree = below;
    scan->scan.plan.righttree = nullptr;
    scan->scan.plan.initPlan = NIL;
    scan->scan.plan.qual = NIL;
    scan->scan.scanrelid = 0;
    scan->custom_private = write_reading(reading);
    scan->custom_scan_tlist = columns_of(below, OUTER_VAR);
    scan->methods = &kScanMethods;
    walk.scans = lappend(walk.scans, scan);
    return scan;
}

bool is_join(const Plan *plan) { return IsA(plan, NestLoop) || IsA(plan, HashJoin) || IsA(plan, MergeJoin); }

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

int first_with_call(const List *quals) {
    int i = 0;
    for (; i < list_length(quals); i++)
        if (has_call(list_nth(quals, i)))
            break;
    return i;
}

bool has_multiple_assignment(const List *entries) {
    ListCell *cell;
    foreach (cell, entries) {
        const Node *value = reinterpret_cast<const Node *>(static_cast<const TargetEntry *>(lfirst(cell))->expr);
        if (IsA(value, SubPlan) && as<SubPlan>(value)->subLinkType == MULTIEXPR_SUBLINK)
            return true;
    }
    return false;
}

// Those that reorder.cpp has put there, and of outer joins those of WHERE.
bool takes_conditions(const Join &join) { return join.jointype != JOIN_FULL; }

// A node that makes calls is parted in two.
Plan *parted(Walk &walk, Plan *plan, const Want &want) {
    const int kept = first_with_call(plan->qual);
    List *early = list_copy(plan->qual), *late = list_copy_tail(plan->qual, kept);
    early = list_truncate(early, kept);
    if (is_join(plan) && ((late != NIL && !takes_conditions(*as<Join>(plan))) || has_call(as<Join>(plan)->joinqual)))
        return plan;
    Collected calls{.ground = walk.ground};
    if (late != NIL)
        collect_calls(static_cast<Node *>(linitial(late)), calls);
    else
        collect_calls(plan->targetlist, calls);
    if (calls.calls == NIL || !is_harmless(early, walk.ground) || has_multiple_assignment(plan->targetlist) ||
        !is_calm(plan, walk.ground, true))
        return plan;

    Columns columns;
    if (!columns.take(plan->targetlist, walk.ground) || !columns.take(late, walk.ground))
        return plan;
    List *entries = NIL;
    for (int i = 0; i < list_length(columns.all()); i++)
        entries = lappend(entries, makeTargetEntry(static_cast<Expr *>(copyObjectImpl(list_nth(columns.all(), i))),
                                                   static_cast<AttrNumber>(i + 1), nullptr, false));
    if (has_record(entries) || !is_harmless(entries, walk.ground))
        return plan;

    Reading reading = want.reading;
    if (late != NIL)
        reading.most = 0;
    reading.guards = renumbered(calls.guards, columns);
    List *output = renumbered(plan->targetlist, columns);
    List *quals = renumbered(late, columns);
    List *asked = renumbered(calls.calls, columns);
    List *subplans = plan->initPlan;
    const Plan as_before = *plan;
    plan->targetlist = entries;
    plan->qual = early;
    plan->initPlan = NIL;
    CustomScan *scan = make_scan(walk, &as_before, plan, reading);
    scan->scan.plan.targetlist = output;
    scan->scan.plan.qual = quals;
    scan->scan.plan.initPlan = subplans;
    scan->custom_exprs = asked;
    return &scan->scan.plan;
}

// Rows for a node that makes calls of them, as they are.
void put_under(Walk &walk, Plan *plan, const Want &want) {
    Plan *below = plan->lefttree;
    Collected calls{.ground = walk.ground};
    Want of_rows = want;
    if (IsA(plan, Agg)) {
        const auto *aggregate = reinterpret_cast<Agg *>(plan);
        if (aggregate->groupingSets != NIL || aggregate->chain != NIL)
            return;
        collect_calls_of_aggregates(plan->targetlist, calls);
        collect_calls_of_aggregates(plan->qual, calls);
        of_rows = aggregate->aggstrategy == AGG_SORTED ? without_limits(want) : all_of_it(want);
    } else if (plan->qual == NIL) {
        collect_calls(plan->targetlist, calls);
    }
    if (calls.calls == NIL || has_record(below->targetlist) || !is_calm(below, walk.ground))
        return;
    of_rows.reading.guards = reinterpret_cast<List *>(moved(reinterpret_cast<Node *>(calls.guards), nullptr));
    CustomScan *scan = make_scan(walk, below, below, of_rows.reading);
    scan->scan.plan.targetlist = columns_of(below, INDEX_VAR);
    scan->custom_exprs = reinterpret_cast<List *>(moved(reinterpret_cast<Node *>(calls.calls), nullptr));
    plan->lefttree = &scan->scan.plan;
}

Plan *visit(Walk &walk, Plan *plan, const Want &want) {
    if (plan == nullptr)
        return nullptr;
    check_stack_depth();
    visit_subplans(walk, plan);
    visit_inputs(walk, plan, want);
    if (makes_calls_by_itself(plan))
        return want.some && !want.marks && !plan->async_capable ? parted(walk, plan, want) : plan;
    if ((IsA(plan, Agg) || IsA(plan, Result)) && plan->lefttree != nullptr &&
        ((want.some && !want.marks) || IsA(plan, Agg)))
        put_under(walk, plan, want);
    return plan;
}

// ---- the statement --------------------------------------------------------------------------------------------------

// The functions of extensions that the plan depends on; calls of this extension are among them.
bool uses_functions(const PlannedStmt &statement) {
    ListCell *cell;
    foreach (cell, statement.invalItems)
        if (static_cast<const PlanInvalItem *>(lfirst(cell))->cacheId == PROCOID)
            return true;
    return false;
}

// Each plan node has a number; no more nodes than this were made.
int most_nodes(const Plan *plan);

int most_nodes_of(const List *plans) {
    int most = 0;
    ListCell *cell;
    foreach (cell, plans)
        most = std::max(most, most_nodes(static_cast<const Plan *>(lfirst(cell))));
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

void read_ahead(PlannedStmt *statement, const CallsOfStatement &calls) {
    Walk walk{statement, ground_of(*statement),
              std::max(most_nodes(statement->planTree), most_nodes_of(statement->subplans))};
    const Want want{
        .some = true,
        .reading = {.is_whole = true, .is_top = true, .most = 0, .processes = 1, .are_all_calls = false, .guards = NIL},
        .marks = false};
    statement->planTree = visit(walk, statement->planTree, want);
    if (list_length(walk.scans) != 1 || calls.may_be_others)
        return;
    auto *scan = static_cast<CustomScan *>(linitial(walk.scans));
    Reading reading = read_reading(scan->custom_private);
    reading.are_all_calls = list_length(scan->custom_exprs) == calls.known;
    scan->custom_private = write_reading(reading);
}

PlannedStmt *plan(Query *query, const char *text, int options, ParamListInfo parameters) {
    const bool reads_ahead = guc::read_ahead || is_explaining;
    const CallsOfStatement calls = reads_ahead ? calls_of_statement(query) : CallsOfStatement();
    PlannedStmt *statement = next_planner != nullptr ? next_planner(query, text, options, parameters)
                                                     : standard_planner(query, text, options, parameters);
    if (!(reads_ahead || guc::reorder) || !uses_functions(*statement) || statement->planTree == nullptr)
        return statement;
    const bool stays = needs_its_place(options, *statement);
    if (guc::reorder)
        put_calls_after_joins(statement, ground_of(*statement));
    if (reads_ahead && !stays)
        read_ahead(statement, calls);
    return statement;
}

}  // namespace

PlannedStmt *plan_with_calls(Query *query, const char *text) {
    PlannedStmt *volatile planned = nullptr;
    is_explaining = true;
    PG_TRY();
    { planned = pg_plan_query(query, text, 0, nullptr); }
    PG_FINALLY();
    { is_explaining = false; }
    PG_END_TRY();
    return planned;
}

List *write_reading(const Reading &reading) {
    const auto most = static_cast<int>(std::min<std::int64_t>(reading.most, INT32_MAX));
    List *numbers = list_make5(makeInteger(reading.is_whole), makeInteger(reading.is_top), makeInteger(most),
                               makeInteger(reading.processes), makeInteger(reading.are_all_calls));
    return lappend(numbers, reading.guards);
}

Reading read_reading(const List *list) {
    return {intVal(linitial(list)) != 0, intVal(lsecond(list)) != 0,     intVal(lthird(list)),
            intVal(lfourth(list)),       intVal(list_nth(list, 4)) != 0, static_cast<List *>(list_nth(list, 5))};
}

void install_read_ahead(std::span<const session::ahead::Function *const> functions) {
    find_calls_of(functions);
    register_scan();
    next_planner = planner_hook;
    planner_hook = plan;
}

}  // namespace steadytext::planner
