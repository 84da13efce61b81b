// Parting nodes, columns of scans, calls of aggregates: see place_scans.hpp. Regime: pg.
#include "src/pg/nodes.hpp"
#include "src/pg/tree_walk.hpp"
#include "src/planner/place_scans.hpp"
#include "src/planner/calm.hpp"
#include "src/planner/collect_calls.hpp"
#include "src/planner/columns.hpp"
#include "src/planner/find_calls.hpp"

extern "C" {
#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
}

#include <new>

namespace steadytext::planner {

using pg::as;

namespace {

// A scan to which calls of the node above can be added: all that decides whether they are made is known.
struct Extensible {
    CustomScan *scan;
    Collected *calls;
};

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
    for (const TargetEntry *entry : pg::each<const TargetEntry>(plan->targetlist)) {
        const Node *value = reinterpret_cast<const Node *>(entry->expr);
        Var *column = column_of(value, varno, entry->resno);
        char *name = entry->resname != nullptr ? pstrdup(entry->resname) : nullptr;
        entries =
            lappend(entries, makeTargetEntry(reinterpret_cast<Expr *>(column), entry->resno, name, entry->resjunk));
    }
    return entries;
}

// The columns that a scan gives, over the rows from below and the values of its calls.
struct Output {
    const List *entries;
    Collected *calls;
    bool is_unknown = false;
};

// An expression of the node above a scan, in the scan's terms.
Node *over_rows(Node *node, void *context) {
    if (node == nullptr)
        return nullptr;
    auto &output = *static_cast<Output *>(context);
    if (!IsA(node, Var) || output.is_unknown)
        return output.is_unknown ? nullptr : expression_tree_mutator(node, pg::mutator(over_rows), context);
    const auto *entry = static_cast<const TargetEntry *>(list_nth(output.entries, as<Var>(node)->varattno - 1));
    Expr *known = known_ahead(entry->expr, *output.calls);
    output.is_unknown = known == nullptr;
    return reinterpret_cast<Node *>(known);
}

bool has_record(const List *entries) {
    for (const TargetEntry *each : pg::each<const TargetEntry>(entries))
        if (is_record(exprType(reinterpret_cast<const Node *>(each->expr))))
            return true;
    return false;
}

// ---- scans ----------------------------------------------------------------------------------------------------------

// The values of calls are columns behind the rows' own, for calls that depend on them and for the names of these.
void ask(CustomScan &scan, const Collected &calls, Reading reading) {
    const int columns = list_length(outerPlan(&scan)->targetlist);
    scan.custom_exprs = with_columns_of_values(calls.calls, columns + 1);
    reading.tests = with_columns_of_values(calls.tests, columns + 1);
    reading.parents = calls.parents;
    reading.guards = calls.guards;
    scan.custom_private = write_reading(reading);
    scan.custom_scan_tlist = list_truncate(scan.custom_scan_tlist, columns);
    ListCell *cell;
    foreach (cell, scan.custom_exprs)
        scan.custom_scan_tlist =
            lappend(scan.custom_scan_tlist,
                    makeTargetEntry(static_cast<Expr *>(lfirst(cell)),
                                    static_cast<AttrNumber>(columns + 1 + foreach_current_index(cell)), nullptr, true));
}

CustomScan *make_scan(Placing &placing, const Plan *above_or_same, Plan *below) {
    CustomScan *scan = makeNode(CustomScan);
    scan->scan.plan = *above_or_same;  // costs, rows, parameters
    scan->scan.plan.type = T_CustomScan;
    scan->scan.plan.parallel_aware = false;
    scan->scan.plan.async_capable = false;
    scan->scan.plan.plan_node_id = ++placing.last_id;
    scan->scan.plan.lefttree = below;
    scan->scan.plan.righttree = nullptr;
    scan->scan.plan.initPlan = NIL;
    scan->scan.plan.qual = NIL;
    scan->scan.scanrelid = 0;
    scan->custom_scan_tlist = columns_of(below, OUTER_VAR);
    scan->methods = &kScanMethods;
    placing.scans = lappend(placing.scans, scan);
    return scan;
}

bool makes_sets(const Agg &aggregate) { return aggregate.groupingSets != NIL || aggregate.chain != NIL; }

bool has_multiple_assignment(const List *entries) {
    for (const TargetEntry *each : pg::each<const TargetEntry>(entries)) {
        const Node *value = reinterpret_cast<const Node *>(each->expr);
        if (IsA(value, SubPlan) && as<SubPlan>(value)->subLinkType == MULTIEXPR_SUBLINK)
            return true;
    }
    return false;
}

// Conditions that reorder.cpp has put there, and of outer joins the conditions of WHERE.
bool takes_conditions(const Join &join) { return join.jointype != JOIN_FULL; }

// ---- calls left in their turn --------------------------------------------------------------------------------------

void note(const Placing &placing, const Plan *plan, const List *expressions, const List *asked, const char *reason) {
    if (placing.noted != nullptr)
        note(placing.noted->calls, plan, expressions, asked, reason, placing.ground);
}

void forget_culprit(const Placing &placing) {
    if (placing.ground.culprit != nullptr)
        *placing.ground.culprit = nullptr;
}

// With the culprit of the "no" that was just said, if it is known.
const char *because(const Placing &placing, const char *where, const char *otherwise) {
    const char *blamed = placing.ground.culprit != nullptr ? blame(*placing.ground.culprit) : nullptr;
    return blamed != nullptr ? psprintf("%s %s", where, blamed) : otherwise;
}

// Rows that wait are kept as tuples. Null: they can be.
const char *why_not_kept(const List *entries) {
    if (list_length(entries) > MaxTupleAttributeNumber)
        return "the statement names too many columns";
    return has_record(entries) ? "the statement takes rows as a whole" : nullptr;
}

// ---- a node in two ---------------------------------------------------------------------------------------------------

struct Halves {
    List *early;  // conditions that stay
    List *late;   // and from the first call on
    Columns columns = Columns();
    List *entries = NIL;  // the columns, as the lower half gives them
};

// Null if the node can be parted, else the reason.
const char *hindrance(const Placing &placing, const Plan *plan, Halves &halves) {
    const Ground &ground = placing.ground;
    if (is_join(plan) &&
        ((halves.late != NIL && !takes_conditions(*as<Join>(plan))) || has_call(as<Join>(plan)->joinqual)))
        return "it decides which rows an outer join joins";
    if (has_multiple_assignment(plan->targetlist))
        return "the statement sets several columns by one subquery";
    forget_culprit(placing);
    if (!is_harmless(halves.early, ground))
        return because(placing, "among the conditions before it,", "the conditions before it might raise an error");
    if (!is_calm(plan, ground, true))
        return because(placing, "below it in the plan,",
                       "what is below it in the plan might raise an error, or change something");
    if (!halves.columns.take(plan->targetlist, ground) || !halves.columns.take(halves.late, ground))
        return "the statement names too many columns";
    for (int i = 0; i < list_length(halves.columns.all()); i++)
        halves.entries = lappend(halves.entries,
                                 makeTargetEntry(static_cast<Expr *>(copyObjectImpl(list_nth(halves.columns.all(), i))),
                                                 static_cast<AttrNumber>(i + 1), nullptr, false));
    if (const char *reason = why_not_kept(halves.entries); reason != nullptr)
        return reason;
    forget_culprit(placing);
    return is_harmless(halves.entries, ground)
               ? nullptr
               : because(placing, "beside it,", "a window function beside it might raise an error");
}

// ---- calls of the node above ----------------------------------------------------------------------------------------

// Collects calls that a node makes of each row from below. Returns how these are read.
Reading collect_calls_above(const Plan &plan, const List *expressions, Reading reading, Collected &calls) {
    if (!IsA(&plan, Agg)) {
        collect_calls(expressions, calls);
        return reading;
    }
    collect_calls_of_aggregates(expressions, calls);
    reading.is_top = false;
    reading.most = 0;
    reading.is_whole |= as<Agg>(&plan)->aggstrategy != AGG_SORTED;
    return reading;
}

// Rows for a node that makes calls of them, as they are.
void put_under(Placing &placing, Plan *plan, const List *expressions, const Reading &reading) {
    Plan *below = plan->lefttree;
    Collected calls{.ground = placing.ground};
    const Reading of_rows = collect_calls_above(*plan, expressions, reading, calls);
    forget_culprit(placing);
    const char *reason = why_not_kept(below->targetlist);
    if (reason == nullptr && !is_calm(below, placing.ground))
        reason = because(placing, "below it in the plan,",
                         "what is below it in the plan might raise an error, or change something");
    if (reason != nullptr)
        return note(placing, plan, expressions, NIL, reason);
    note(placing, plan, expressions, calls.places, nullptr);
    if (calls.calls == NIL)
        return;
    calls.calls = reinterpret_cast<List *>(moved(reinterpret_cast<Node *>(calls.calls), nullptr));
    calls.tests = reinterpret_cast<List *>(moved(reinterpret_cast<Node *>(calls.tests), nullptr));
    CustomScan *scan = make_scan(placing, below, below);
    scan->scan.plan.targetlist = columns_of(below, INDEX_VAR);
    ask(*scan, calls, of_rows);
    plan->lefttree = &scan->scan.plan;
}

// The scan below asks for the calls of the node above it too.
void extend(const Placing &placing, Extensible &below, const Plan &plan, const List *expressions) {
    Output output{below.scan->scan.plan.targetlist, below.calls};
    auto *known =
        reinterpret_cast<List *>(over_rows(reinterpret_cast<Node *>(const_cast<List *>(expressions)), &output));
    const int count = list_length(below.calls->calls);
    if (output.is_unknown)
        return note(placing, &plan, expressions, NIL, "it depends on a value that is known in its turn only");
    (void)collect_calls_above(plan, known, Reading(), *below.calls);
    note(placing, &below.scan->scan.plan, known, below.calls->places, nullptr);
    if (list_length(below.calls->calls) > count)
        ask(*below.scan, *below.calls, read_reading(below.scan->custom_private));
}

}  // namespace

bool is_join(const Plan *plan) { return IsA(plan, NestLoop) || IsA(plan, HashJoin) || IsA(plan, MergeJoin); }

Plan *part(Placing &placing, Plan *plan, const Reading &reading) {
    const int kept = first_with_call(plan->qual);
    Halves halves{.early = list_truncate(list_copy(plan->qual), kept), .late = list_copy_tail(plan->qual, kept)};
    if (halves.late == NIL && !has_call(plan->targetlist))
        return plan;
    if (const char *reason = hindrance(placing, plan, halves); reason != nullptr) {
        leave_in_turn(placing, plan, reason);
        return plan;
    }

    List *output = renumbered(plan->targetlist, halves.columns);
    List *quals = renumbered(halves.late, halves.columns);
    auto *calls = new (palloc(sizeof(Collected))) Collected{.ground = placing.ground};
    const bool are_known = collect_calls_of_conditions(quals, *calls);
    if (are_known)
        collect_calls(output, *calls);
    if (calls->calls == NIL) {
        leave_in_turn(placing, plan, nullptr);
        return plan;
    }

    Reading of_rows = reading;
    if (halves.late != NIL)
        of_rows.most = 0;
    List *subplans = plan->initPlan;
    const Plan as_before = *plan;
    plan->targetlist = halves.entries;
    plan->qual = halves.early;
    plan->initPlan = NIL;
    CustomScan *scan = make_scan(placing, &as_before, plan);
    scan->scan.plan.targetlist = output;
    scan->scan.plan.qual = quals;
    scan->scan.plan.initPlan = subplans;
    ask(*scan, *calls, of_rows);
    if (are_known)
        placing.extensible = lappend(placing.extensible, new (palloc(sizeof(Extensible))) Extensible{scan, calls});
    note(placing, &scan->scan.plan, list_concat_copy(quals, output), calls->places, nullptr);
    return &scan->scan.plan;
}

void ask_below(Placing &placing, Plan *plan, const Reading &reading) {
    List *expressions = list_concat_copy(plan->targetlist, IsA(plan, Agg) ? plan->qual : NIL);
    if (!has_call(expressions))
        return;
    if (IsA(plan, Agg) ? makes_sets(*as<Agg>(plan)) : plan->qual != NIL)
        return leave_in_turn(placing, plan, "it is not asked ahead in this place of the plan");
    for (Extensible *below : pg::each<Extensible>(placing.extensible))
        if (&below->scan->scan.plan == plan->lefttree)
            return extend(placing, *below, *plan, expressions);
    put_under(placing, plan, expressions, reading);
}

void leave_in_turn(Placing &placing, const Plan *plan, const char *reason) {
    if (placing.noted != nullptr)
        note_all(placing.noted->calls, plan, reason, placing.ground);
}

}  // namespace steadytext::planner
