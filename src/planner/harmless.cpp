// Parts of expressions that are known to be harmless: see harmless.hpp. Regime: pg.
#include "src/pg/nodes.hpp"
#include "src/pg/tree_walk.hpp"
#include "src/planner/calm.hpp"
#include "src/planner/harmless_functions.hpp"

extern "C" {
#include "access/transam.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/bitmapset.h"
#include "nodes/nodeFuncs.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
}

#include <algorithm>

namespace steadytext::planner {

namespace {

bool is_text_of_value(const CoerceViaIO &coercion) {
    return (coercion.resulttype == TEXTOID || coercion.resulttype == VARCHAROID) &&
           has_plain_text(getBaseType(exprType(reinterpret_cast<const Node *>(coercion.arg))));
}

// Without a collation that is known, comparisons of texts raise an error; under a nondeterministic collation, searches in them.
bool has_fit_collation(Oid collation, const List *arguments) {
    if (OidIsValid(collation))
        return get_collation_isdeterministic(collation);
    for (const Node *argument : pg::each<const Node>(arguments)) {
        if (type_is_collatable(
                exprType(IsA(argument, TargetEntry)
                             ? reinterpret_cast<const Node *>(reinterpret_cast<const TargetEntry *>(argument)->expr)
                             : argument)))
            return false;
    }
    return true;
}

// ---- expressions ----------------------------------------------------------------------------------------------------

bool is_harmful(Node *node, void *ground);

bool is_harmful_aggregate(const Aggref &aggregate) {
    if (!is_harmless_aggregate(aggregate.aggfnoid) || !has_fit_collation(aggregate.inputcollid, aggregate.args))
        return true;
    if (aggregate.aggorder == NIL && aggregate.aggdistinct == NIL)
        return false;
    ListCell *cell;
    foreach (cell, aggregate.args)  // they are compared
        if (const Oid type =
                exprType(reinterpret_cast<const Node *>(static_cast<const TargetEntry *>(lfirst(cell))->expr));
            !has_plain_text(type) || type == JSONOID || type == JSONBOID)
            return true;
    return false;
}

bool is_harmful_itself(const Node *node, const Ground &ground) {
    switch (nodeTag(node)) {
    case T_Var:
    case T_Const:
    case T_RelabelType:
    case T_CollateExpr:
    case T_CoalesceExpr:
    case T_CaseExpr:
    case T_CaseWhen:
    case T_CaseTestExpr:
    case T_BoolExpr:
    case T_NullTest:
    case T_BooleanTest:
    case T_List:
    case T_TargetEntry:
    case T_GroupingFunc:
        return false;
    case T_SQLValueFunction:
        return !is_time(node);
    case T_SubscriptingRef: {  // an element that is not there is NULL
        const auto *element = reinterpret_cast<const SubscriptingRef *>(node);
        return element->refassgnexpr != nullptr ||
               get_typsubscript(element->refcontainertype, nullptr) != F_ARRAY_SUBSCRIPT_HANDLER;
    }
    case T_Param: {
        const auto *param = reinterpret_cast<const Param *>(node);
        return param->paramkind == PARAM_EXEC && !bms_is_member(param->paramid, ground.given);
    }
    case T_ArrayExpr:  // arrays of arrays may not fit together
        return reinterpret_cast<const ArrayExpr *>(node)->multidims;
    case T_OpExpr:
    case T_DistinctExpr:
    case T_NullIfExpr: {
        const auto *operation = reinterpret_cast<const OpExpr *>(node);
        return !OidIsValid(operation->opfuncid) || !has_fit_collation(operation->inputcollid, operation->args) ||
               !is_harmless_call(operation->opfuncid, operation->args, operation->inputcollid, ground);
    }
    case T_ScalarArrayOpExpr: {
        const auto *operation = reinterpret_cast<const ScalarArrayOpExpr *>(node);
        return !OidIsValid(operation->opfuncid) || !has_fit_collation(operation->inputcollid, operation->args) ||
               !is_harmless_call(operation->opfuncid, operation->args, operation->inputcollid, ground);
    }
    case T_FuncExpr: {
        const auto *call = reinterpret_cast<const FuncExpr *>(node);
        return !has_fit_collation(call->inputcollid, call->args) ||
               !is_harmless_call(call->funcid, call->args, call->inputcollid, ground) || call->funcvariadic;
    }
    case T_CoerceViaIO:
        return !is_text_of_value(*reinterpret_cast<const CoerceViaIO *>(node));
    case T_Aggref:
        return is_harmful_aggregate(*reinterpret_cast<const Aggref *>(node));
    case T_WindowFunc: {
        const auto *function = reinterpret_cast<const WindowFunc *>(node);
        return !is_harmless_over_windows(function->winfnoid) ||
               !has_fit_collation(function->inputcollid, function->args);
    }
    case T_SubPlan:
        return !gives_harmlessly(*reinterpret_cast<const SubPlan *>(node), ground);
    default:
        return true;
    }
}

bool is_harmful(Node *node, void *ground) {
    if (node == nullptr)
        return false;
    const auto &all = *static_cast<const Ground *>(ground);
    if (!looks_on(all))
        return true;
    if (is_harmful_itself(node, all)) {
        if (all.culprit != nullptr)
            *all.culprit = node;
        return true;
    }
    return expression_tree_walker(node, pg::walker(is_harmful), ground);
}

// A large constant is copied with its expression, and hashed or made into a table.
int looks_at(const Node *node) {
    constexpr std::size_t kBytesOfLook = 64;
    if (!IsA(node, Const))
        return 1;
    const auto *value = reinterpret_cast<const Const *>(node);
    if (value->constisnull || value->constbyval || value->constlen != -1)
        return 1;
    return static_cast<int>(1 + VARSIZE_ANY(DatumGetPointer(value->constvalue)) / kBytesOfLook);
}

bool ends_looks(Node *node, void *context) {
    if (node == nullptr)
        return false;
    const auto &ground = *static_cast<const Ground *>(context);
    *ground.looks = std::max(0, *ground.looks - looks_at(node) + 1);
    return !looks_on(ground) || expression_tree_walker(node, pg::walker(ends_looks), context);
}

}  // namespace

bool may_look_at(const void *expression, const Ground &ground) {
    return !ends_looks(static_cast<Node *>(const_cast<void *>(expression)), const_cast<Ground *>(&ground));
}

bool are_harmless_operators(const Oid *operators, int count) {
    return std::all_of(operators, operators + count,
                       [](Oid comparison) { return is_harmless_comparison(get_opcode(comparison)); });
}

bool looks_on(const Ground &ground) {
    CHECK_FOR_INTERRUPTS();
    return *ground.looks > 0 && --*ground.looks > 0;
}

bool is_harmless(const void *expression, const Ground &ground) {
    return !is_harmful(static_cast<Node *>(const_cast<void *>(expression)), const_cast<Ground *>(&ground));
}

}  // namespace steadytext::planner
