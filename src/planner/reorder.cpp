// The way up from a scan to a join, first looked at and then taken: see reorder.hpp. Regime: pg.
//
// A condition on its way refers to columns of the node that it has reached, by their place; a node that lacks one hands
// it on from below.
#include "src/pg/compat.hpp"
#include "src/planner/reorder.hpp"
#include "src/planner/calm.hpp"
#include "src/planner/find_calls.hpp"

extern "C" {
#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/pg_class.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
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

// C++ allows the cast only through another function type.
pg::tree_mutator_type mutator(Node *(*function)(Node *, void *)) {
    return reinterpret_cast<pg::tree_mutator_type>(reinterpret_cast<void (*)()>(function));
}

Node *without_calls(Node *node, void *context) {
    if (node == nullptr)
        return nullptr;
    if (IsA(node, FuncExpr) && function_of(reinterpret_cast<FuncExpr *>(node)->funcid) != nullptr)
        return reinterpret_cast<Node *>(
            list_make2(makeNullConst(exprType(node), exprTypmod(node), exprCollation(node)),
                       without_calls(reinterpret_cast<Node *>(reinterpret_cast<FuncExpr *>(node)->args), context)));
    return expression_tree_mutator(node, mutator(without_calls), context);
}

// Wherever it is evaluated, it is the same: it has columns of the scan only, and nothing but its calls may fail.
bool is_movable(const List *quals, const Scan &scan, const Ground &ground) {
    auto *node = reinterpret_cast<Node *>(const_cast<List *>(quals));
    if (contain_subplans(node) || !is_harmless(without_calls(node, nullptr), {ground.statement, nullptr, ground.looks}))
        return false;
    ListCell *cell;
    foreach (cell, pull_var_clause(node, 0)) {
        const auto *column = static_cast<const Var *>(lfirst(cell));
        if (column->varno != static_cast<int>(scan.scanrelid) || column->varattno <= 0)
            return false;
    }
    return true;
}

// ---- the way up -----------------------------------------------------------------------------------------------------

bool hands_on(const Plan *plan) {
    return (IsA(plan, Hash) || IsA(plan, Sort) || IsA(plan, Material)) &&
           list_length(plan->targetlist) == list_length(plan->lefttree->targetlist);
}

bool lets_pass(const Join &join, bool is_inner) {
    if (is_inner)  // one that looks for a single row would look no further than one that the condition drops
        return join.jointype == JOIN_INNER && !join.inner_unique;
    return join.jointype == JOIN_INNER || join.jointype == JOIN_SEMI;
}

bool is_join(const Plan *plan) { return IsA(plan, NestLoop) || IsA(plan, HashJoin) || IsA(plan, MergeJoin); }

// The step that is a join and gives the fewest rows; -1 if none gives fewer than the scan.
int best_step(const Way &way) {
    int best = -1;
    double calls = way.steps[way.count - 1].plan->plan_rows, fewest = 0;
    for (int i = way.count - 2; i >= 0; i--) {
        const Way::Step &step = way.steps[i];
        if (!is_join(step.plan))
            continue;
        if (IsA(step.plan, NestLoop) && !step.is_inner && step.plan->righttree->plan_rows > kMaxForEach)
            break;
        if (IsA(step.plan, NestLoop) && step.is_inner && !IsA(step.plan->righttree, Material))
            calls *= step.plan->lefttree->plan_rows;
        if (step.plan->plan_rows < kWorthwhile * calls && (best < 0 || step.plan->plan_rows < fewest)) {
            best = i;
            fewest = step.plan->plan_rows;
        }
    }
    return best;
}

// The place of the column among the entries, which it joins if it is missing.
int place_of(Plan *plan, Var *column) {
    ListCell *cell;
    foreach (cell, plan->targetlist) {
        const auto *entry = static_cast<const TargetEntry *>(lfirst(cell));
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

// Columns that a node computes become those of its output, as the node above names them.
Node *lifted(Node *node, void *context) {
    if (node == nullptr)
        return nullptr;
    if (!IsA(node, Var))
        return expression_tree_mutator(node, mutator(lifted), context);
    const auto &lift = *static_cast<const Lift *>(context);
    auto *column = reinterpret_cast<Var *>(node);
    return reinterpret_cast<Node *>(makeVar(lift.side, static_cast<AttrNumber>(place_of(lift.plan, column)),
                                            column->vartype, column->vartypmod, column->varcollid, 0));
}

int side_of(const Way::Step &step) { return step.is_inner ? INNER_VAR : OUTER_VAR; }

void move(const Way &way, int to, List *quals) {
    for (int i = way.count - 1; i > to; i--) {
        Lift lift{way.steps[i].plan, side_of(way.steps[i - 1])};
        quals = reinterpret_cast<List *>(lifted(reinterpret_cast<Node *>(quals), &lift));
    }
    way.steps[to].plan->qual = list_concat(way.steps[to].plan->qual, quals);
}

int first_with_call(const List *quals) {
    int i = 0;
    while (i < list_length(quals) && !has_call(list_nth(quals, i)))
        i++;
    return i;
}

void move_if_worthwhile(const Ground &ground, const Way &way) {
    Plan *scan = way.steps[way.count - 1].plan;
    const int kept = first_with_call(scan->qual), to = best_step(way);
    if (to < 0 || kept == list_length(scan->qual))
        return;
    List *all = scan->qual, *quals = list_copy_tail(all, kept);
    if (!is_movable(quals, *reinterpret_cast<Scan *>(scan), ground))
        return;
    scan->qual = list_truncate(list_copy(all), kept);
    if (is_calm_throughout_but_for_output(way.steps[to].plan, ground))
        move(way, to, quals);
    else
        scan->qual = all;
}

// ---- all of a plan --------------------------------------------------------------------------------------------------

void look(const Ground &ground, Plan *plan, Way way);

void look_anew(const Ground &ground, Plan *plan) { look(ground, plan, Way{}); }

void look_anew(const Ground &ground, const List *plans) {
    ListCell *cell;
    foreach (cell, plans)
        look_anew(ground, static_cast<Plan *>(lfirst(cell)));
}

void look_into_join(const Ground &ground, Plan *plan, const Way &way) {
    const auto &join = *reinterpret_cast<const Join *>(plan);
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
    switch (nodeTag(plan)) {
    case T_SeqScan:
    case T_IndexScan:
    case T_BitmapHeapScan:
        way.steps[way.count++] = {plan, false};
        return move_if_worthwhile(ground, way);
    case T_SubqueryScan:
        return look_anew(ground, reinterpret_cast<SubqueryScan *>(plan)->subplan);
    case T_Append:
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
    ListCell *cell;
    foreach (cell, tables) {
        const auto *entry = static_cast<const RangeTblEntry *>(lfirst(cell));
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
