// Calls in expressions, their guards, and the values that they have of each other: see collect_calls.hpp. Regime: pg.
#include "src/pg/nodes.hpp"
#include "src/pg/tree_walk.hpp"
#include "src/planner/collect_calls.hpp"
#include "src/planner/find_calls.hpp"

extern "C" {
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
}

namespace steadytext::planner {

using pg::as;
using session::ahead::Function;

namespace {

Node *node_of(const void *expression) { return static_cast<Node *>(const_cast<void *>(expression)); }

// ---- values of calls ------------------------------------------------------------------------------------------------

// No plan has such a parameter: the planner replaces the parameters that the parser makes.
constexpr ParamKind kValueOfCall = PARAM_SUBLINK;

bool is_value_of_call(const Node *node) { return IsA(node, Param) && as<Param>(node)->paramkind == kValueOfCall; }

Node *value_of_call(const FuncExpr &call, int number) {
    Param *value = makeNode(Param);
    value->paramkind = kValueOfCall;
    value->paramid = number;
    value->paramtype = call.funcresulttype;
    value->paramtypmod = -1;
    value->paramcollid = call.funccollid;
    value->location = -1;
    return reinterpret_cast<Node *>(value);
}

int number_of(const Node *call, const Collected &calls) {
    ListCell *cell;
    foreach (cell, calls.places)
        if (lfirst(cell) == call)
            return list_nth_int(calls.numbers, foreach_current_index(cell));
    return -1;
}

// Values in the place of collected calls, where the values can be known ahead.
Node *with_values(Node *node, void *context) {
    if (node == nullptr)
        return nullptr;
    if (IsA(node, FuncExpr))
        if (const Function *function = function_of(as<FuncExpr>(node)->funcid);
            function != nullptr && function->has_plain_value)
            if (const int number = number_of(node, *static_cast<const Collected *>(context)); number >= 0)
                return value_of_call(*as<FuncExpr>(node), number);
    return expression_tree_mutator(node, pg::mutator(with_values), context);
}

struct Columns {
    int first;
};

Node *with_columns(Node *node, void *context) {
    if (node == nullptr)
        return nullptr;
    if (!is_value_of_call(node))
        return expression_tree_mutator(node, pg::mutator(with_columns), context);
    const auto *value = as<Param>(node);
    return reinterpret_cast<Node *>(
        makeVar(INDEX_VAR, static_cast<AttrNumber>(static_cast<const Columns *>(context)->first + value->paramid),
                value->paramtype, value->paramtypmod, value->paramcollid, 0));
}

// ---- a call ---------------------------------------------------------------------------------------------------------

bool differs_by_row(Node *node, void *) {
    return node != nullptr && (IsA(node, Var) || is_value_of_call(node) ||
                               expression_tree_walker(node, pg::walker(differs_by_row), nullptr));
}

bool is_given(const Node *node) {
    return IsA(node, Const) || (IsA(node, Param) && as<Param>(node)->paramkind == PARAM_EXTERN);
}

// Each is compared with all that are there. Calls beyond are asked in their turn.
constexpr int kMaxCalls = 1000;

// The place among the calls; -1 if there is no room.
int place_of(FuncExpr *call, Collected &calls) {
    CHECK_FOR_INTERRUPTS();
    ListCell *cell;
    foreach (cell, calls.calls) {
        const int guard = list_nth_int(calls.guards, foreach_current_index(cell));
        if ((guard < 0 || guard == calls.guard) && equal(lfirst(cell), call))
            return foreach_current_index(cell);
    }
    if (list_length(calls.calls) >= kMaxCalls)
        return -1;
    calls.calls = lappend(calls.calls, call);
    calls.guards = lappend_int(calls.guards, calls.guard);
    return list_length(calls.calls) - 1;
}

void collect_call(FuncExpr *call, const Function *function, Collected &calls) {
    const bool has_inner = has_call(call->args);
    if (has_inner)
        collect_calls(call->args, calls);
    if (function == nullptr)
        return;
    FuncExpr *known = call;
    if (has_inner) {
        auto *arguments = reinterpret_cast<List *>(known_ahead(call->args, calls));
        if (arguments == NIL)
            return;
        known = makeNode(FuncExpr);
        *known = *call;
        known->args = arguments;
    }
    if (what_hinders(*known, calls.ground) != Hindrance::None || list_length(calls.places) >= kMaxCalls)
        return;
    if (const int number = place_of(known, calls); number >= 0) {
        calls.places = lappend(calls.places, call);
        calls.numbers = lappend_int(calls.numbers, number);
    }
}

// ---- guards ---------------------------------------------------------------------------------------------------------

// From here on the test must be true too.
void require(Collected &calls, Expr *test) {
    calls.tests = lappend(calls.tests, test);
    calls.parents = lappend_int(calls.parents, calls.guard);
    calls.guard = list_length(calls.tests) - 1;
}

Expr *test(Expr *condition, BoolTestType type) {
    auto *test = makeNode(BooleanTest);
    test->arg = condition;
    test->booltesttype = type;
    test->location = -1;
    return reinterpret_cast<Expr *>(test);
}

Expr *is_null(Expr *value) {
    auto *test = makeNode(NullTest);
    test->arg = value;
    test->nulltesttype = IS_NULL;
    test->argisrow = false;
    test->location = -1;
    return reinterpret_cast<Expr *>(test);
}

// AND and OR go on as long as the operands before do not decide.
void collect_of_conditions(const BoolExpr &conditions, Collected &calls) {
    const int around = calls.guard;
    List *before = NIL;  // since a call
    int last = list_length(conditions.args) - 1;
    while (last >= 0 && !has_call(list_nth(conditions.args, last)))
        last--;
    for (int i = 0; i <= last; i++) {
        Node *condition = static_cast<Node *>(list_nth(conditions.args, i));
        const bool calls_here = has_call(condition);
        if (calls_here && before != NIL) {
            Expr *all = list_length(before) == 1 ? static_cast<Expr *>(linitial(before))
                                                 : makeBoolExpr(conditions.boolop, before, -1);
            require(calls, test(all, conditions.boolop == AND_EXPR ? IS_NOT_FALSE : IS_NOT_TRUE));
            before = NIL;
        }
        if (calls_here)
            collect_calls(condition, calls);
        Expr *known = i < last ? known_ahead(condition, calls) : nullptr;
        if (known == nullptr)
            break;
        before = lappend(before, known);
    }
    calls.guard = around;
}

// A single branch is taken: the first with a true condition.
void collect_of_case(const CaseExpr &choice, Collected &calls) {
    const int around = calls.guard;
    bool is_known = choice.arg == nullptr;
    for (const CaseWhen *branch : pg::each<const CaseWhen>(choice.args)) {
        if (!is_known)
            break;
        collect_calls(reinterpret_cast<Node *>(branch->expr), calls);
        Expr *known = known_ahead(branch->expr, calls);
        is_known = known != nullptr;
        if (!is_known)
            break;
        const int so_far = calls.guard;
        require(calls, test(known, IS_TRUE));
        collect_calls(reinterpret_cast<Node *>(branch->result), calls);
        calls.guard = so_far;
        require(calls, test(known, IS_NOT_TRUE));
    }
    if (is_known)
        collect_calls(reinterpret_cast<Node *>(choice.defresult), calls);
    calls.guard = around;
}

// The first value that is not NULL.
void collect_of_coalesce(const CoalesceExpr &values, Collected &calls) {
    const int around = calls.guard;
    ListCell *cell;
    foreach (cell, values.args) {
        Node *value = static_cast<Node *>(lfirst(cell));
        collect_calls(value, calls);
        Expr *known = lnext(values.args, cell) == nullptr ? nullptr : known_ahead(value, calls);
        if (known == nullptr)
            break;
        require(calls, is_null(known));
    }
    calls.guard = around;
}

// Adds the arguments of aggregates.
bool collect_of_aggregates(Node *node, void *context) {
    if (node == nullptr)
        return false;
    if (!IsA(node, Aggref))
        return expression_tree_walker(node, pg::walker(collect_of_aggregates), context);
    const auto *aggregate = as<Aggref>(node);
    if (DO_AGGSPLIT_COMBINE(aggregate->aggsplit))
        return false;
    auto &calls = *static_cast<Collected *>(context);
    const int around = calls.guard;
    if (aggregate->aggfilter == nullptr || collect_calls_of_conditions(list_make1(aggregate->aggfilter), calls))
        collect_calls(aggregate->args, calls);
    calls.guard = around;
    return false;
}

}  // namespace

Hindrance what_hinders(const FuncExpr &call, const Ground &ground) {
    const Function *function = function_of(call.funcid);
    if (list_length(call.args) <= function->varying || call.funcvariadic ||
        static_cast<std::size_t>(list_length(call.args)) > strlen(function->arguments))
        return Hindrance::OtherArguments;
    ListCell *cell;
    foreach (cell, call.args)
        if (foreach_current_index(cell) != function->varying && !is_given(static_cast<Node *>(lfirst(cell))))
            return Hindrance::OtherArguments;
    Node *text = static_cast<Node *>(list_nth(call.args, function->varying));
    if (!is_harmless(text, ground))
        return Hindrance::Text;
    return differs_by_row(text, nullptr) ? Hindrance::None : Hindrance::SameText;
}

Expr *known_ahead(const void *expression, Collected &calls) {
    if (!may_look_at(expression, calls.ground))  // it is copied
        return nullptr;
    Node *known = with_values(node_of(expression), &calls);
    return is_harmless(known, calls.ground) ? reinterpret_cast<Expr *>(known) : nullptr;
}

void collect_calls(const List *expressions, Collected &calls) {
    for (Node *each : pg::each<Node>(expressions))
        collect_calls(each, calls);
}

void collect_calls(Node *node, Collected &calls) {
    if (node == nullptr)
        return;
    check_stack_depth();
    CHECK_FOR_INTERRUPTS();
    switch (nodeTag(node)) {
    case T_FuncExpr:
        return collect_call(reinterpret_cast<FuncExpr *>(node), function_of(as<FuncExpr>(node)->funcid), calls);
    case T_TargetEntry:
        return collect_calls(node_of(as<TargetEntry>(node)->expr), calls);
    case T_OpExpr:
    case T_DistinctExpr:
    case T_NullIfExpr:
        return collect_calls(as<OpExpr>(node)->args, calls);
    case T_MinMaxExpr:
        return collect_calls(as<MinMaxExpr>(node)->args, calls);
    case T_ScalarArrayOpExpr:
        return collect_calls(as<ScalarArrayOpExpr>(node)->args, calls);
    case T_BoolExpr:
        return collect_of_conditions(*as<BoolExpr>(node), calls);
    case T_CaseExpr:
        return collect_of_case(*as<CaseExpr>(node), calls);
    case T_CoalesceExpr:
        return collect_of_coalesce(*as<CoalesceExpr>(node), calls);
    case T_RelabelType:
        return collect_calls(node_of(as<RelabelType>(node)->arg), calls);
    case T_CollateExpr:
        return collect_calls(node_of(as<CollateExpr>(node)->arg), calls);
    case T_CoerceViaIO:
        return collect_calls(node_of(as<CoerceViaIO>(node)->arg), calls);
    case T_NullTest:
        return collect_calls(node_of(as<NullTest>(node)->arg), calls);
    case T_BooleanTest:
        return collect_calls(node_of(as<BooleanTest>(node)->arg), calls);
    case T_ArrayExpr:
        return collect_calls(as<ArrayExpr>(node)->elements, calls);
    case T_RowExpr:
        return collect_calls(as<RowExpr>(node)->args, calls);
    default:
        return;
    }
}

bool collect_calls_of_conditions(const List *conditions, Collected &calls) {
    ListCell *cell;
    foreach (cell, conditions) {
        collect_calls(static_cast<Node *>(lfirst(cell)), calls);
        Expr *known = known_ahead(lfirst(cell), calls);
        if (known == nullptr)
            return false;
        require(calls, known);  // NULL is not true
    }
    return true;
}

void collect_calls_of_aggregates(const List *expressions, Collected &calls) {
    (void)collect_of_aggregates(node_of(expressions), &calls);
}

List *with_columns_of_values(List *expressions, int first) {
    Columns columns{first};
    return reinterpret_cast<List *>(with_columns(reinterpret_cast<Node *>(expressions), &columns));
}

}  // namespace steadytext::planner
