// Finds the nodes of a finished plan that make calls for each row, and puts custom scans under them: see
// read_ahead.hpp. Regime: pg.
//
// A scan or join that makes calls is parted: it keeps the quals before the first call and gives plain columns, and the
// custom scan above it has the other quals and the target list. Under an aggregate or a Result the custom scan hands on
// rows as they are.
#include "src/pg/compat.hpp"
#include "src/planner/read_ahead.hpp"
#include "src/guc.hpp"
#include "src/pg/once.hpp"
#include "src/planner/harmless.hpp"

extern "C" {
#include "access/htup_details.h"
#include "catalog/pg_language.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/planner.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
}

#include <algorithm>

namespace steadytext::planner {

using session::ahead::Function;

namespace {

planner_hook_type next_planner = nullptr;
std::span<const Function *const> all_functions;

template <class Node>
const Node *as(const void *node) {
    return static_cast<const Node *>(node);
}

// ---- functions by their OIDs ----------------------------------------------------------------------------------------

struct Known {
    Oid oid;
    const Function *function;
};
HTAB *known = nullptr;

void forget_known(Datum, int, uint32) {
    if (known != nullptr)
        hash_destroy(known);
    known = nullptr;
}

HTAB *known_functions() {
    pg::once([] { CacheRegisterSyscacheCallback(PROCOID, forget_known, 0); });
    if (known != nullptr)
        return known;
    HASHCTL control{};
    control.keysize = sizeof(Oid);
    control.entrysize = sizeof(Known);
    control.hcxt = TopMemoryContext;
    return known = hash_create("steadytext functions", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

const Function *find_symbol(const char *symbol) {
    for (const Function *function : all_functions)
        if (strcmp(function->symbol, symbol) == 0)
            return function;
    return nullptr;
}

// By what the catalog says of it: the library and the symbol.
const Function *look_up(Oid oid) {
    HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(oid));
    if (!HeapTupleIsValid(tuple))
        return nullptr;
    const Function *function = nullptr;
    const auto *row = reinterpret_cast<Form_pg_proc>(GETSTRUCT(tuple));
    bool lacks_library, lacks_symbol;
    const Datum library = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_probin, &lacks_library);
    const Datum symbol = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc, &lacks_symbol);
    if (row->prolang == ClanguageId && !row->prosecdef && !lacks_library && !lacks_symbol &&
        heap_attisnull(tuple, Anum_pg_proc_proconfig, nullptr) &&
        strcmp(TextDatumGetCString(library), "$libdir/pg_steadytext") == 0)
        function = find_symbol(TextDatumGetCString(symbol));
    ReleaseSysCache(tuple);
    return function;
}

// ---- calls in expressions -------------------------------------------------------------------------------------------

const Function *called(const Node *node) {
    return IsA(node, FuncExpr) ? function_of(as<FuncExpr>(node)->funcid) : nullptr;
}

bool has_call(Node *node, void *);
const auto call_finder = reinterpret_cast<pg::tree_walker_type>(reinterpret_cast<void (*)()>(has_call));

bool has_call(Node *node, void *) {
    return node != nullptr && (called(node) != nullptr || expression_tree_walker(node, call_finder, nullptr));
}

bool has_call(const void *node) { return has_call(static_cast<Node *>(const_cast<void *>(node)), nullptr); }

bool has_column(Node *node, void *);
const auto column_finder = reinterpret_cast<pg::tree_walker_type>(reinterpret_cast<void (*)()>(has_column));

bool has_column(Node *node, void *) {
    return node != nullptr && (IsA(node, Var) || expression_tree_walker(node, column_finder, nullptr));
}

bool is_given(const Node *node) {
    return IsA(node, Const) || (IsA(node, Param) && as<Param>(node)->paramkind == PARAM_EXTERN);
}

bool can_begin(const FuncExpr &call, const Function &function) {
    if (list_length(call.args) <= function.varying || call.funcvariadic ||
        static_cast<std::size_t>(list_length(call.args)) > strlen(function.arguments))
        return false;
    ListCell *cell;
    foreach (cell, call.args) {
        Node *argument = static_cast<Node *>(lfirst(cell));
        if (foreach_current_index(cell) == function.varying ? !(is_harmless(argument) && has_column(argument, nullptr))
                                                            : !is_given(argument))
            return false;
    }
    return true;
}

// Adds the calls that are made for certain when the expression is evaluated.
void collect(Node *node, List **calls);

void collect_all(const List *nodes, List **calls) {
    ListCell *cell;
    foreach (cell, nodes)
        collect(static_cast<Node *>(lfirst(cell)), calls);
}

void collect(Node *node, List **calls) {
    if (node == nullptr)
        return;
    switch (nodeTag(node)) {
    case T_FuncExpr: {
        auto *call = reinterpret_cast<FuncExpr *>(node);
        if (const Function *function = called(node); function != nullptr && can_begin(*call, *function))
            *calls = list_append_unique(*calls, call);
        else
            collect_all(call->args, calls);
        return;
    }
    case T_TargetEntry:
        return collect(reinterpret_cast<Node *>(reinterpret_cast<TargetEntry *>(node)->expr), calls);
    case T_OpExpr:
    case T_DistinctExpr:
        return collect_all(reinterpret_cast<OpExpr *>(node)->args, calls);
    case T_ScalarArrayOpExpr:
        return collect_all(reinterpret_cast<ScalarArrayOpExpr *>(node)->args, calls);
    case T_BoolExpr:  // the others may never be looked at
        return collect(static_cast<Node *>(linitial(reinterpret_cast<BoolExpr *>(node)->args)), calls);
    case T_RelabelType:
        return collect(reinterpret_cast<Node *>(reinterpret_cast<RelabelType *>(node)->arg), calls);
    case T_CollateExpr:
        return collect(reinterpret_cast<Node *>(reinterpret_cast<CollateExpr *>(node)->arg), calls);
    case T_CoerceViaIO:
        return collect(reinterpret_cast<Node *>(reinterpret_cast<CoerceViaIO *>(node)->arg), calls);
    case T_NullTest:
        return collect(reinterpret_cast<Node *>(reinterpret_cast<NullTest *>(node)->arg), calls);
    case T_BooleanTest:
        return collect(reinterpret_cast<Node *>(reinterpret_cast<BooleanTest *>(node)->arg), calls);
    case T_ArrayExpr:
        return collect_all(reinterpret_cast<ArrayExpr *>(node)->elements, calls);
    case T_RowExpr:
        return collect_all(reinterpret_cast<RowExpr *>(node)->args, calls);
    default:
        return;
    }
}

// The arguments of aggregates are evaluated for each row of the input.
struct Aggregates {
    List **calls;
};

bool collect_of_aggregates(Node *node, void *context);
const auto aggregate_walker =
    reinterpret_cast<pg::tree_walker_type>(reinterpret_cast<void (*)()>(collect_of_aggregates));

bool collect_of_aggregates(Node *node, void *context) {
    if (node == nullptr)
        return false;
    if (!IsA(node, Aggref))
        return expression_tree_walker(node, aggregate_walker, context);
    const auto *aggregate = as<Aggref>(node);
    if (aggregate->aggfilter == nullptr && !DO_AGGSPLIT_COMBINE(aggregate->aggsplit))
        collect_all(aggregate->args, static_cast<Aggregates *>(context)->calls);
    return false;
}

// ---- columns of the custom scan -------------------------------------------------------------------------------------

bool is_record(Oid type) { return type == RECORDOID; }

// Columns become those of the custom scan, by their place in a list of them.
Node *renumbered(Node *node, void *columns) {
    if (node == nullptr)
        return nullptr;
    if (!IsA(node, Var))
        return expression_tree_mutator(
            node, reinterpret_cast<pg::tree_mutator_type>(reinterpret_cast<void (*)()>(renumbered)), columns);
    Var *column = static_cast<Var *>(copyObjectImpl(node));
    const auto *all = static_cast<const List *>(columns);
    for (int i = 0; i < list_length(all); i++)
        if (equal(list_nth(all, i), node))
            column->varattno = static_cast<AttrNumber>(i + 1);
    column->varno = INDEX_VAR;
    return reinterpret_cast<Node *>(column);
}

List *renumbered(const List *nodes, const List *columns) {
    return reinterpret_cast<List *>(
        renumbered(reinterpret_cast<Node *>(const_cast<List *>(nodes)), const_cast<List *>(columns)));
}

// As renumbered(), where each column of the plan below has kept its number.
Node *moved(Node *node, void *context) {
    if (node == nullptr)
        return nullptr;
    if (!IsA(node, Var))
        return expression_tree_mutator(
            node, reinterpret_cast<pg::tree_mutator_type>(reinterpret_cast<void (*)()>(moved)), context);
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
        Var *column = makeVar(varno, entry->resno, exprType(value), exprTypmod(value), exprCollation(value), 0);
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
    int last_id;
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
            .some = true, .reading = {.is_whole = true, .is_top = false, .most = 0, .processes = 1}, .marks = false};
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
        return true;
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

// A scan or join that makes calls is parted in two.
Plan *parted(Walk &walk, Plan *plan, const Want &want) {
    const int kept = first_with_call(plan->qual);
    List *early = list_copy(plan->qual), *late = list_copy_tail(plan->qual, kept);
    early = list_truncate(early, kept);
    if (is_join(plan) && (late != NIL || has_call(reinterpret_cast<Join *>(plan)->joinqual)))
        return plan;
    List *calls = NIL;
    if (late != NIL)
        collect(static_cast<Node *>(linitial(late)), &calls);
    else
        collect_all(plan->targetlist, &calls);
    if (calls == NIL || !is_harmless(early) || has_multiple_assignment(plan->targetlist) ||
        !is_calm(plan, *walk.statement, true))
        return plan;

    List *columns = NIL;
    columns = list_concat_unique(columns, pull_var_clause(reinterpret_cast<Node *>(plan->targetlist), 0));
    columns = list_concat_unique(columns, pull_var_clause(reinterpret_cast<Node *>(late), 0));
    List *entries = NIL;
    for (int i = 0; i < list_length(columns); i++)
        entries = lappend(entries, makeTargetEntry(static_cast<Expr *>(copyObjectImpl(list_nth(columns, i))),
                                                   static_cast<AttrNumber>(i + 1), nullptr, false));
    if (has_record(entries))
        return plan;

    Reading reading = want.reading;
    if (late != NIL)
        reading.most = 0;
    List *output = renumbered(plan->targetlist, columns);
    List *quals = renumbered(late, columns);
    List *asked = renumbered(calls, columns);
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
    List *calls = NIL;
    Want of_rows = want;
    if (IsA(plan, Agg)) {
        const auto *aggregate = reinterpret_cast<Agg *>(plan);
        if (aggregate->groupingSets != NIL || aggregate->chain != NIL)
            return;
        Aggregates context{&calls};
        (void)collect_of_aggregates(reinterpret_cast<Node *>(plan->targetlist), &context);
        (void)collect_of_aggregates(reinterpret_cast<Node *>(plan->qual), &context);
        of_rows = aggregate->aggstrategy == AGG_SORTED ? without_limits(want) : all_of_it(want);
    } else if (plan->qual == NIL) {
        collect_all(plan->targetlist, &calls);
    }
    if (calls == NIL || has_record(below->targetlist) || !is_calm(below, *walk.statement))
        return;
    CustomScan *scan = make_scan(walk, below, below, of_rows.reading);
    scan->scan.plan.targetlist = columns_of(below, INDEX_VAR);
    scan->custom_exprs = reinterpret_cast<List *>(moved(reinterpret_cast<Node *>(calls), nullptr));
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

// A cursor may be moved back, and a statement may name the row that it is at.
bool is_for_cursor(int options) {
    return (options & (CURSOR_OPT_SCROLL | CURSOR_OPT_FAST_PLAN | CURSOR_OPT_HOLD)) != 0;
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

void read_ahead(PlannedStmt *statement) {
    Walk walk{statement, std::max(most_nodes(statement->planTree), most_nodes_of(statement->subplans))};
    const Want want{
        .some = true, .reading = {.is_whole = true, .is_top = true, .most = 0, .processes = 1}, .marks = false};
    statement->planTree = visit(walk, statement->planTree, want);
}

PlannedStmt *plan(Query *query, const char *text, int options, ParamListInfo parameters) {
    PlannedStmt *statement = next_planner != nullptr ? next_planner(query, text, options, parameters)
                                                     : standard_planner(query, text, options, parameters);
    if (guc::read_ahead && uses_functions(*statement) && !is_for_cursor(options) && statement->planTree != nullptr)
        read_ahead(statement);
    return statement;
}

}  // namespace

const Function *function_of(Oid oid) {
    if (oid < FirstNormalObjectId)
        return nullptr;
    bool found;
    auto *entry = static_cast<Known *>(hash_search(known_functions(), &oid, HASH_FIND, &found));
    if (found)
        return entry->function;
    const Function *function = look_up(oid);  // may forget all that is known
    entry = static_cast<Known *>(hash_search(known_functions(), &oid, HASH_ENTER, &found));
    entry->function = function;
    return function;
}

List *write_reading(const Reading &reading) {
    const auto most = static_cast<int>(std::min<std::int64_t>(reading.most, INT32_MAX));
    return list_make4(makeInteger(reading.is_whole), makeInteger(reading.is_top), makeInteger(most),
                      makeInteger(reading.processes));
}

Reading read_reading(const List *list) {
    return {intVal(linitial(list)) != 0, intVal(lsecond(list)) != 0, intVal(lthird(list)), intVal(lfourth(list))};
}

void install_read_ahead(std::span<const Function *const> functions) {
    all_functions = functions;
    register_scan();
    next_planner = planner_hook;
    planner_hook = plan;
}

}  // namespace steadytext::planner
