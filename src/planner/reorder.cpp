// The way up from a scan to a join, first looked at and then taken: see reorder.hpp. Regime: pg.
//
// A condition on its way refers to columns of the node that it has reached, by their place; a node that lacks a column hands
// it on from below.
#include "src/pg/nodes.hpp"
#include "src/pg/tree_walk.hpp"
#include "src/planner/reorder.hpp"
#include "src/planner/calm.hpp"
#include "src/planner/condition_order.hpp"
#include "src/planner/find_calls.hpp"
#include "src/planner/place_scans.hpp"

extern "C" {
#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/pg_class.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
}

namespace steadytext::planner {

namespace {

constexpr int kMaxSteps = 32;
constexpr double kWorthwhile = 0.95;    // of the rows; estimates are estimates
constexpr double kMaxForEach = 10'000;  // rows that a nested loop compares with each row: a millisecond at most

// From a scan, which is the last, up to the highest join that its conditions can go to.
struct Way {
    struct Step {
        Plan *plan;
        bool is_inner;  // the way goes on in its inner side
    };
    Step steps[kMaxSteps];
    int count = 0;
};

bool is_scan(const Plan *plan) { return IsA(plan, SeqScan) || IsA(plan, IndexScan) || IsA(plan, BitmapHeapScan); }

bool is_column_of(const Var &column, const Plan *plan) {
    if (is_scan(plan))
        return column.varno == static_cast<int>(reinterpret_cast<const Scan *>(plan)->scanrelid) && column.varattno > 0;
    return column.varno == OUTER_VAR || column.varno == INNER_VAR;
}

// Wherever it is evaluated, it is the same: it has columns of the node only, and nothing but its calls may fail.
bool is_movable(const List *quals, const Plan *plan, const Ground &ground) {
    auto *node = reinterpret_cast<Node *>(const_cast<List *>(quals));
    if (contain_subplans(node) || !is_harmless_but_for_calls(node, {ground.statement, nullptr, ground.looks}))
        return false;
    for (const Var *each : pg::each<const Var>(pull_var_clause(node, 0)))
        if (!is_column_of(*each, plan))
            return false;
    return true;
}

// ---- the way up -----------------------------------------------------------------------------------------------------

bool hands_on(const Plan *plan) {
    return (IsA(plan, Hash) || IsA(plan, Sort) || IsA(plan, Material)) &&
           list_length(plan->targetlist) == list_length(plan->lefttree->targetlist);
}

// Not from the side of an outer join whose rows may be missing.
bool lets_pass(const Join &join, bool is_inner) {
    if (is_inner)  // one that looks for a single row would look no further than one that the condition drops
        return (join.jointype == JOIN_INNER || join.jointype == JOIN_RIGHT) && !join.inner_unique;
    return join.jointype == JOIN_INNER || join.jointype == JOIN_SEMI || join.jointype == JOIN_LEFT ||
           join.jointype == JOIN_ANTI;
}

// It hands on no more rows than it takes from that side.
bool never_gives_more(const Join &join, bool is_inner) {
    return !is_inner && (join.jointype == JOIN_SEMI || join.jointype == JOIN_ANTI || join.inner_unique);
}

// The step that is a join and gives the fewest rows; -1 if none gives fewer than the scan. Of a few rows the planner only
// knows that they are few: then the last step that certainly gives no more.
int best_step(const Way &way) {
    constexpr double kFew = 10;
    int best = -1;
    double calls = way.steps[way.count - 1].plan->plan_rows, fewest = 0;
    bool never_more = calls < kFew;
    for (int i = way.count - 2; i >= 0; i--) {
        const Way::Step &step = way.steps[i];
        if (!is_join(step.plan))
            continue;
        if (IsA(step.plan, NestLoop) && !step.is_inner && step.plan->righttree->plan_rows > kMaxForEach)
            break;
        if (IsA(step.plan, NestLoop) && step.is_inner && !IsA(step.plan->righttree, Material))
            calls *= step.plan->lefttree->plan_rows;
        const double rows = step.plan->plan_rows;
        never_more = never_more && never_gives_more(*reinterpret_cast<const Join *>(step.plan), step.is_inner);
        if ((never_more && rows <= calls) || (rows < kWorthwhile * calls && (best < 0 || rows < fewest))) {
            best = i;
            fewest = rows;
        }
    }
    return best;
}

// The place of the column among the entries, which it joins if it is missing.
int place_of(Plan *plan, Var *column) {
    CHECK_FOR_INTERRUPTS();
    for (const TargetEntry *entry : pg::each<const TargetEntry>(plan->targetlist)) {
        if (IsA(entry->expr, Var) && reinterpret_cast<const Var *>(entry->expr)->varno == column->varno &&
            reinterpret_cast<const Var *>(entry->expr)->varattno == column->varattno)
            return entry->resno;
    }
    const auto place = static_cast<AttrNumber>(list_length(plan->targetlist) + 1);
    plan->targetlist =
        lappend(plan->targetlist, makeTargetEntry(static_cast<Expr *>(copyObjectImpl(column)), place, nullptr, false));
    return place;
}

struct Lift {
    Plan *plan;  // whose columns the condition has, and hands on
    int side;    // of the node above on which it is
};

// Columns that a node computes become columns of its output, as the node above names them.
Node *lifted(Node *node, void *context) {
    if (node == nullptr)
        return nullptr;
    if (!IsA(node, Var))
        return expression_tree_mutator(node, pg::mutator(lifted), context);
    const auto &lift = *static_cast<const Lift *>(context);
    auto *column = reinterpret_cast<Var *>(node);
    return reinterpret_cast<Node *>(makeVar(lift.side, static_cast<AttrNumber>(place_of(lift.plan, column)),
                                            column->vartype, column->vartypmod, column->varcollid, 0));
}

int side_of(const Way::Step &step) { return step.is_inner ? INNER_VAR : OUTER_VAR; }

void move(const Ground &ground, const Way &way, int to, List *quals) {
    for (int i = way.count - 1; i > to; i--) {
        Lift lift{way.steps[i].plan, side_of(way.steps[i - 1])};
        quals = reinterpret_cast<List *>(lifted(reinterpret_cast<Node *>(quals), &lift));
    }
    // The join's own conditions have not seen the rows that this condition drops.
    Plan *plan = way.steps[to].plan;
    const int place = first_with_call(plan->qual);
    List *before = list_truncate(list_copy(plan->qual), place), *behind = list_copy_tail(plan->qual, place);
    plan->qual = in_order(list_concat(list_concat(before, quals), behind), ground);
}

// ---- the node where a way begins ------------------------------------------------------------------------------------

// Conditions that make calls, taken off a node, in its own terms. Conditions that were there before can be put back.
struct Taken {
    List *quals = NIL;
    List *all = NIL;
    List **place = nullptr;
};

void put_back(const Taken &taken) { *taken.place = taken.all; }

// The first condition with a call and all behind it.
Taken take(List **quals, const Plan *plan, const Ground &ground) {
    const int kept = first_with_call(*quals);
    Taken taken{list_copy_tail(*quals, kept), *quals, quals};
    if (taken.quals == NIL || !is_movable(taken.quals, plan, ground))
        return {};
    *quals = list_truncate(list_copy(*quals), kept);
    return taken;
}

bool move_if_worthwhile(const Ground &ground, const Way &way, List *quals) {
    const int to = best_step(way);
    if (to < 0 || quals == NIL || !is_calm_throughout_but_for_output(way.steps[to].plan, ground))
        return false;
    move(ground, way, to, quals);
    return true;
}

void move_from(const Ground &ground, const Way &way, List **quals) {
    const Taken taken = take(quals, way.steps[way.count - 1].plan, ground);
    if (taken.quals != NIL && !move_if_worthwhile(ground, way, taken.quals))
        put_back(taken);
}

// ---- both sides of a join -------------------------------------------------------------------------------------------

// Where each side of a join has a condition with calls, either is in the other's way: the call of the other side might
// raise an error. They go up together, to this join, or stay.
struct SideOfJoin {
    Way way;
    Taken taken;
    double rows;
};

// Down to the scan below the nodes that hand on its rows; false if there is none.
bool go_to_scan(Plan *plan, Way &way) {
    for (; way.count + 1 < kMaxSteps && hands_on(plan); plan = plan->lefttree)
        way.steps[way.count++] = {plan, false};
    way.steps[way.count++] = {plan, false};
    return is_scan(plan);
}

// Such a condition may be the reason why a row of the inner side is single.
bool has_equality(const List *quals, int first) {
    for (int i = first; i < list_length(quals); i++) {
        const auto *condition = static_cast<const Node *>(list_nth(quals, i));
        if (is_opclause(condition) && op_mergejoinable(reinterpret_cast<const OpExpr *>(condition)->opno,
                                                       exprType(static_cast<const Node *>(linitial(
                                                           reinterpret_cast<const OpExpr *>(condition)->args)))))
            return true;
    }
    return false;
}

// The way down to a scan with a condition that makes calls; false if there is none.
bool go_down(const Join &join, bool is_inner, const Way &above, SideOfJoin &side) {
    if (join.jointype != JOIN_INNER || above.count + 2 >= kMaxSteps)
        return false;
    side.way = above;
    side.way.steps[side.way.count++] = {const_cast<Plan *>(&join.plan), is_inner};
    if (!go_to_scan(is_inner ? join.plan.righttree : join.plan.lefttree, side.way))
        return false;
    const Plan *scan = side.way.steps[side.way.count - 1].plan;
    side.rows = scan->plan_rows;
    const int first = first_with_call(scan->qual);
    return first < list_length(scan->qual) && !(is_inner && join.inner_unique && has_equality(scan->qual, first));
}

void move_from_both_sides(const Ground &ground, Join &join, const Way &above) {
    constexpr double kSurely = 0.5;  // as all rows of the join may be asked about twice
    SideOfJoin sides[2]{};
    if (!go_down(join, false, above, sides[0]) || !go_down(join, true, above, sides[1]) ||
        2 * join.plan.plan_rows > kSurely * (sides[0].rows + sides[1].rows) ||
        (IsA(&join, NestLoop) && join.plan.righttree->plan_rows > kMaxForEach))
        return;
    bool go_up = true;
    for (SideOfJoin &side : sides) {
        Plan *scan = side.way.steps[side.way.count - 1].plan;
        side.taken = take(&scan->qual, scan, ground);
        go_up = go_up && side.taken.quals != NIL;
    }
    go_up = go_up && is_calm_throughout_but_for_output(&join.plan, ground);
    for (const SideOfJoin &side : sides)
        if (go_up)
            move(ground, side.way, above.count, side.taken.quals);
        else if (side.taken.quals != NIL)
            put_back(side.taken);
}

// ---- the parts of a partitioned table -------------------------------------------------------------------------------

// Each has the same conditions, of its own columns. Their columns get the same places in the output of all parts.
void move_from_parts(const Ground &ground, const Way &way, Append &append) {
    const int count = list_length(append.appendplans);
    auto *taken = static_cast<Taken *>(palloc0(static_cast<std::size_t>(count) * sizeof(Taken)));
    auto *outputs = static_cast<List **>(palloc(static_cast<std::size_t>(count) * sizeof(List *)));
    List *quals = NIL;
    int done = 0;
    bool are_alike = count > 0;
    for (; are_alike && done < count; done++) {
        auto *part = static_cast<Plan *>(list_nth(append.appendplans, done));
        outputs[done] = part->targetlist;
        taken[done] = is_scan(part) ? take(&part->qual, part, ground) : Taken{};
        if (taken[done].quals == NIL) {
            are_alike = false;
            continue;
        }
        part->targetlist = list_copy(part->targetlist);
        Lift lift{part, OUTER_VAR};
        auto *mine = reinterpret_cast<List *>(lifted(reinterpret_cast<Node *>(taken[done].quals), &lift));
        quals = done == 0 ? mine : quals;
        const auto *first = static_cast<const Plan *>(linitial(append.appendplans));
        are_alike = equal(quals, mine) && list_length(part->targetlist) == list_length(first->targetlist);
    }
    List *output = append.plan.targetlist;
    append.plan.targetlist = list_copy(output);
    if (are_alike && move_if_worthwhile(ground, way, quals))
        return;
    append.plan.targetlist = output;
    for (int i = 0; i < done; i++) {
        if (taken[i].quals == NIL)
            continue;
        put_back(taken[i]);
        static_cast<Plan *>(list_nth(append.appendplans, i))->targetlist = outputs[i];
    }
}

// ---- all of a plan --------------------------------------------------------------------------------------------------

void look(const Ground &ground, Plan *plan, Way way);

void look_anew(const Ground &ground, Plan *plan) { look(ground, plan, Way{}); }

void look_anew(const Ground &ground, const List *plans) {
    for (Plan *each : pg::each<Plan>(plans))
        look_anew(ground, each);
}

bool is_constant(const void *expression) {
    return pull_var_clause(static_cast<Node *>(const_cast<void *>(expression)), 0) == NIL;
}

// The planner knows a row to be single by conditions that two values are equal.
bool may_make_single(const Node *condition) {
    if (!is_opclause(condition))
        return false;
    const auto *operation = reinterpret_cast<const OpExpr *>(condition);
    return list_length(operation->args) == 2 && !is_constant(linitial(operation->args)) &&
           !is_constant(lsecond(operation->args)) &&
           op_mergejoinable(operation->opno, exprType(static_cast<const Node *>(linitial(operation->args))));
}

// Of a join that drops rows it is the same whether a condition is among the join's or behind them; only behind
// them can its calls be asked ahead. Not of a join that looks for a single row, if the condition may be the reason why it is single.
void part_conditions(Join &join) {
    const int kept = first_with_call(join.joinqual);
    if (join.jointype != JOIN_INNER || kept == list_length(join.joinqual))
        return;
    List *late = list_copy_tail(join.joinqual, kept);
    for (const Node *each : pg::each<const Node>(late))
        if (join.inner_unique && may_make_single(each))
            return;
    join.plan.qual = list_concat(late, join.plan.qual);
    join.joinqual = list_truncate(list_copy(join.joinqual), kept);
}

void look_into_join(const Ground &ground, Plan *plan, Way way) {
    auto &join = *reinterpret_cast<Join *>(plan);
    part_conditions(join);
    plan->qual = in_order(plan->qual, ground);
    if (way.count > 0 && way.count < kMaxSteps) {
        Way from_here = way;
        from_here.steps[from_here.count++] = {plan, false};
        move_from(ground, from_here, &plan->qual);
    }
    move_from_both_sides(ground, join, way);
    for (const bool is_inner : {false, true}) {
        Way longer = lets_pass(join, is_inner) ? way : Way{};
        if (lets_pass(join, is_inner) && longer.count < kMaxSteps)
            longer.steps[longer.count++] = {plan, is_inner};
        look(ground, is_inner ? plan->righttree : plan->lefttree, longer);
    }
}

// `way`: down to the plan, without it.
void look(const Ground &ground, Plan *plan, Way way) {
    if (plan == nullptr)
        return;
    check_stack_depth();
    CHECK_FOR_INTERRUPTS();
    if (way.count == kMaxSteps)
        way.count = 0;
    if (is_join(plan))
        return look_into_join(ground, plan, way);
    if (!IsA(plan, WindowAgg))  // whose conditions are about columns by their numbers
        plan->qual = in_order(plan->qual, ground);
    switch (nodeTag(plan)) {
    case T_SeqScan:
    case T_IndexScan:
    case T_BitmapHeapScan:
        way.steps[way.count++] = {plan, false};
        return move_from(ground, way, &plan->qual);
    case T_SubqueryScan:
        return look_anew(ground, reinterpret_cast<SubqueryScan *>(plan)->subplan);
    case T_Append:
        if (way.count > 0) {
            way.steps[way.count++] = {plan, false};
            move_from_parts(ground, way, *reinterpret_cast<Append *>(plan));
        }
        return look_anew(ground, reinterpret_cast<Append *>(plan)->appendplans);
    case T_MergeAppend:
        return look_anew(ground, reinterpret_cast<MergeAppend *>(plan)->mergeplans);
    default:
        break;
    }
    if (way.count > 0 && hands_on(plan)) {
        way.steps[way.count++] = {plan, false};
        return look(ground, plan->lefttree, way);
    }
    look_anew(ground, plan->lefttree);
    look_anew(ground, plan->righttree);
}

bool has_row_security(Oid table) {
    HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(table));
    const bool has = !HeapTupleIsValid(tuple) || reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->relrowsecurity;
    if (HeapTupleIsValid(tuple))
        ReleaseSysCache(tuple);
    return has;
}

bool is_barrier(Oid view) {
    Relation relation = relation_open(view, AccessShareLock);
    const bool is = RelationIsSecurityView(relation);
    relation_close(relation, NoLock);
    return is;
}

// A condition may be that of a policy or of a view with a security barrier, which is to come before all others. Of a view
// whose rows the statement changes there is only its name left by now.
bool hides_rows(const List *tables) {
    for (const RangeTblEntry *entry : pg::each<const RangeTblEntry>(tables)) {
        if (entry->security_barrier ||
            (entry->rtekind == RTE_RELATION &&
             (entry->relkind == RELKIND_VIEW ? is_barrier(entry->relid) : has_row_security(entry->relid))))
            return true;
    }
    return false;
}

}  // namespace

void put_calls_after_joins(PlannedStmt *statement, const Ground &ground) {
    if (hides_rows(statement->rtable))
        return;
    look_anew(ground, statement->planTree);
    look_anew(ground, statement->subplans);
}

}  // namespace steadytext::planner
