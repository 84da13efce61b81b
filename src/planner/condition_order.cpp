// Ranks by counts of answers, and exchanges of neighbours: see condition_order.hpp. Regime: pg.
#include "src/pg/tree_walk.hpp"
#include "src/planner/condition_order.hpp"
#include "src/planner/call_cost.hpp"
#include "src/planner/find_calls.hpp"
#include "src/session/answer_counts.hpp"

extern "C" {
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"
}

#include <algorithm>

namespace steadytext::planner {

namespace {

using session::ahead::Function;
using shmem::AnswerCounts;

constexpr std::uint64_t kFewAnswers = 20;  // fewer tell nothing
constexpr double kAlike = 3;               // times that differ by less may do so by chance

// A call becomes something of its type that is made of its arguments, and raises nothing by itself.
Node *without_calls(Node *node, void *context) {
    if (node == nullptr)
        return nullptr;
    if (!IsA(node, FuncExpr) || function_of(reinterpret_cast<FuncExpr *>(node)->funcid) == nullptr)
        return expression_tree_mutator(node, pg::mutator(without_calls), context);
    auto *instead = makeNode(CoalesceExpr);
    instead->coalescetype = exprType(node);
    instead->coalescecollid = exprCollation(node);
    instead->args = reinterpret_cast<List *>(
        without_calls(reinterpret_cast<Node *>(reinterpret_cast<FuncExpr *>(node)->args), context));
    return reinterpret_cast<Node *>(instead);
}

// ---- knowledge of a condition --------------------------------------------------------------------------------------

struct Calls {
    const FuncExpr *only = nullptr;
    int count = 0;
};

bool find_calls(Node *node, void *calls) {
    if (node == nullptr)
        return false;
    if (IsA(node, FuncExpr) && function_of(reinterpret_cast<FuncExpr *>(node)->funcid) != nullptr) {
        static_cast<Calls *>(calls)->only = reinterpret_cast<const FuncExpr *>(node);
        static_cast<Calls *>(calls)->count++;
    }
    return expression_tree_walker(node, pg::walker(find_calls), calls);
}

struct Answered {
    const FuncExpr *call;
    Datum value;
};

// The condition with a value in the place of its call.
Node *answered(Node *node, void *context) {
    const auto &with = *static_cast<const Answered *>(context);
    if (node != reinterpret_cast<const Node *>(with.call))
        return node == nullptr ? nullptr : expression_tree_mutator(node, pg::mutator(answered), context);
    const Oid type = exprType(node);
    int16 length;
    bool is_by_value;
    get_typlenbyval(type, &length, &is_by_value);
    return reinterpret_cast<Node *>(
        makeConst(type, exprTypmod(node), exprCollation(node), length, with.value, false, is_by_value));
}

enum class Truth { True, False, Unknown };

// Of the condition alone, for a call that is answered so.
Truth truth_of(Node *condition, Answered with) {
    const Node *folded = eval_const_expressions(nullptr, answered(condition, &with));
    if (!IsA(folded, Const))
        return Truth::Unknown;
    const auto *value = reinterpret_cast<const Const *>(folded);
    return !value->constisnull && DatumGetBool(value->constvalue) ? Truth::True : Truth::False;
}

// The function's arguments but for the text; false if they are not known yet.
bool fill(FunctionCallInfo call, const Function &function, const FuncExpr &expression) {
    ListCell *cell;
    foreach (cell, expression.args) {
        const int number = foreach_current_index(cell);
        const auto *value = static_cast<const Const *>(lfirst(cell));
        call->args[number] = {static_cast<Datum>(0), true};
        if (number == function.varying)
            continue;
        if (!IsA(value, Const))
            return false;
        call->args[number] = {value->constvalue, value->constisnull};
    }
    return true;
}

// The share of answers with which the condition is met; negative: not known.
double share_met(Node *condition, const FuncExpr &expression, const Function &function,
                 const AnswerCounts::Seen &seen) {
    const std::uint64_t total = seen.total();
    LOCAL_FCINFO(call, FUNC_MAX_ARGS);
    InitFunctionCallInfoData(*call, nullptr, static_cast<short>(list_length(expression.args)), InvalidOid, nullptr,
                             nullptr);
    if (total < kFewAnswers || !fill(call, function, expression))
        return -1;
    const session::ahead::Answers answers = function.answers(call);
    std::uint64_t met = 0;
    for (std::size_t i = 0; i < std::min(answers.size(), AnswerCounts::kAnswers); i++) {
        if (seen.answers[i] == 0)
            continue;
        const Truth truth = truth_of(condition, {&expression, function.value(call, answers[i].text)});
        if (truth == Truth::Unknown)
            return -1;
        met += truth == Truth::True ? seen.answers[i] : 0;
    }
    return static_cast<double>(met) / static_cast<double>(total);
}

struct Known {
    double met = -1;                 // share of rows
    double us = -1;                  // for a row
    const FuncExpr *call = nullptr;  // the only one
};

Known known_of(Node *condition) {
    Calls calls;
    (void)find_calls(condition, &calls);
    if (calls.count != 1)
        return {};
    const Function &function = *function_of(calls.only->funcid);
    const AnswerCounts::Seen seen = session::seen_answers(function, *calls.only);
    if (seen.total() < kFewAnswers)
        return {-1, usual_us(function.kind), calls.only};
    return {share_met(condition, *calls.only, function, seen), seen.mean_us, calls.only};
}

const void *text_of(const FuncExpr &call) { return list_nth(call.args, function_of(call.funcid)->varying); }

bool takes_null(const FuncExpr &call) {
    LOCAL_FCINFO(nothing, FUNC_MAX_ARGS);
    InitFunctionCallInfoData(*nothing, nullptr, static_cast<short>(list_length(call.args)), InvalidOid, nullptr,
                             nullptr);
    for (int i = 0; i < nothing->nargs; i++)
        nothing->args[i] = {static_cast<Datum>(0), true};
    return function_of(call.funcid)->foresee(nothing) == session::ahead::Foreseen::AsksNothing;
}

// If `later` comes first, it is asked about more rows. It refuses no text among them that `sooner` would not refuse.
bool refuses_no_more(const Known &later, const Known &sooner) {
    return later.call != nullptr && sooner.call != nullptr && takes_null(*later.call) &&
           equal(text_of(*later.call), text_of(*sooner.call));
}

// The share of rows for which the conditions behind it need not be looked at.
double decided(const Known &known, BoolExprType type) { return type == AND_EXPR ? 1 - known.met : known.met; }

// Whether it is certain, as far as all that is known, that fewer calls are made for the time if `later` comes first. Of
// a condition of which nothing is known, `later` may decide nothing and `sooner` everything.
bool is_better(const Known &later, const Known &sooner, BoolExprType type) {
    constexpr double kCertain = 1.05;
    if (later.met < 0 || later.us < 0 || sooner.us < 0 || !refuses_no_more(later, sooner))
        return false;
    double dearer = std::max(sooner.us, 1.0) / std::max(later.us, 1.0);  // for each call of `later`
    if (dearer < kAlike && dearer > 1 / kAlike)
        dearer = 1;
    return decided(later, type) * dearer > (sooner.met < 0 ? 1 : decided(sooner, type)) * kCertain;
}

// ---- the order ------------------------------------------------------------------------------------------------------

constexpr int kMaxConditions = 64;

struct Condition {
    Node *node;
    bool has_call;
    bool may_move;
    Known known;
};

bool goes_before(const Condition &later, const Condition &sooner, BoolExprType type) {
    if (!later.may_move || !sooner.may_move || !sooner.has_call)
        return false;
    return !later.has_call || is_better(later.known, sooner.known, type);
}

List *in_order(List *conditions, BoolExprType type, const Ground &ground);

// With the order within it changed.
Node *ordered_within(Node *condition, const Ground &ground) {
    if (!IsA(condition, BoolExpr) || !has_call(condition))
        return condition;
    check_stack_depth();
    auto *conditions = reinterpret_cast<BoolExpr *>(condition);
    List *args = conditions->boolop == NOT_EXPR
                     ? list_make1(ordered_within(static_cast<Node *>(linitial(conditions->args)), ground))
                     : in_order(conditions->args, conditions->boolop, ground);
    return reinterpret_cast<Node *>(makeBoolExpr(conditions->boolop, args, conditions->location));
}

List *in_order(List *conditions, BoolExprType type, const Ground &ground) {
    const int count = list_length(conditions);
    if (count > kMaxConditions || !may_look_at(conditions, ground) || !has_call(conditions))
        return conditions;
    auto *all = static_cast<Condition *>(palloc(static_cast<std::size_t>(count) * sizeof(Condition)));
    for (int i = 0; i < count; i++) {
        Node *node = ordered_within(static_cast<Node *>(list_nth(conditions, i)), ground);
        all[i] = {node, has_call(node), count > 1 && is_harmless_but_for_calls(node, ground), {}};
        if (all[i].has_call && all[i].may_move)
            all[i].known = known_of(node);
    }
    for (int i = 1; i < count; i++)
        for (int j = i; j > 0 && goes_before(all[j], all[j - 1], type); j--)
            std::swap(all[j], all[j - 1]);
    List *ordered = NIL;
    for (int i = 0; i < count; i++)
        ordered = lappend(ordered, all[i].node);
    pfree(all);
    return ordered;
}

}  // namespace

double share_met(Node *condition) { return known_of(condition).met; }

bool is_harmless_but_for_calls(const void *expression, const Ground &ground) {
    return may_look_at(expression, ground) &&
           is_harmless(without_calls(static_cast<Node *>(const_cast<void *>(expression)), nullptr), ground);
}

List *in_order(List *conditions, const Ground &ground) { return in_order(conditions, AND_EXPR, ground); }

}  // namespace steadytext::planner
