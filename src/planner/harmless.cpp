// Lists of functions and of parts of expressions that are known to be harmless: see harmless.hpp. Regime: pg.
#include "src/pg/tree_walk.hpp"
#include "src/planner/calm.hpp"

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
#include <span>
#include <string_view>

namespace steadytext::planner {

namespace {

// ---- functions ------------------------------------------------------------------------------------------------------

// Beside those of its own that PostgreSQL calls leakproof. Not `any || text`, an SQL function that casts its argument as the
// argument's owner likes: of plain types, the planner has put its body in its place.
constexpr Oid kHarmless[] = {
    F_TEXTCAT,
    F_CONCAT,
    F_CONCAT_WS,
    F_LOWER_TEXT,
    F_UPPER_TEXT,
    F_INITCAP,
    F_BTRIM_TEXT,
    F_BTRIM_TEXT_TEXT,
    F_LTRIM_TEXT,
    F_LTRIM_TEXT_TEXT,
    F_RTRIM_TEXT,
    F_RTRIM_TEXT_TEXT,
    F_LEFT,
    F_RIGHT,
    F_LENGTH_TEXT,
    F_CHAR_LENGTH_TEXT,
    F_OCTET_LENGTH_TEXT,
    F_MD5_TEXT,
    F_REPLACE,
    F_STRPOS,
    F_POSITION_TEXT_TEXT,
    F_STARTS_WITH,
    F_TEXTLIKE,
    F_TEXTNLIKE,
    F_TEXTICLIKE,
    F_TEXTICNLIKE,
    F_TEXT_BPCHAR,
    F_TEXT_NAME,
    F_JSONB_OBJECT_FIELD,
    F_JSONB_OBJECT_FIELD_TEXT,
    F_JSONB_ARRAY_ELEMENT_TEXT,
    F_NUMERIC_EQ,
    F_NUMERIC_NE,
    F_NUMERIC_LT,
    F_NUMERIC_LE,
    F_NUMERIC_GT,
    F_NUMERIC_GE,
    F_UNNEST_ANYARRAY,
    F_GENERATE_SERIES_INT4_INT4,
};

constexpr Oid kHarmlessAggregates[] = {
    F_COUNT_,
    F_COUNT_ANY,
    F_BOOL_AND,
    F_BOOL_OR,
    F_EVERY,
    F_STRING_AGG_TEXT_TEXT,
    F_ARRAY_AGG_ANYNONARRAY,
    F_SUM_INT2,
    F_SUM_INT4,
    F_SUM_INT8,
    F_AVG_INT2,
    F_AVG_INT4,
    F_AVG_INT8,
    F_MIN_INT2,
    F_MIN_INT4,
    F_MIN_INT8,
    F_MIN_FLOAT4,
    F_MIN_FLOAT8,
    F_MIN_NUMERIC,
    F_MIN_TEXT,
    F_MIN_DATE,
    F_MIN_TIMESTAMP,
    F_MIN_TIMESTAMPTZ,
    F_MAX_INT2,
    F_MAX_INT4,
    F_MAX_INT8,
    F_MAX_FLOAT4,
    F_MAX_FLOAT8,
    F_MAX_NUMERIC,
    F_MAX_TEXT,
    F_MAX_DATE,
    F_MAX_TIMESTAMP,
    F_MAX_TIMESTAMPTZ,
};

constexpr Oid kHarmlessOfWindows[] = {
    F_ROW_NUMBER,          F_RANK_,           F_DENSE_RANK_,          F_PERCENT_RANK_, F_CUME_DIST_, F_LAG_ANYELEMENT,
    F_LAG_ANYELEMENT_INT4, F_LEAD_ANYELEMENT, F_LEAD_ANYELEMENT_INT4, F_FIRST_VALUE,   F_LAST_VALUE,
};

bool is_among(std::span<const Oid> list, Oid oid) { return std::find(list.begin(), list.end(), oid) != list.end(); }

const Const *constant(const List *arguments, int number) {
    if (number >= list_length(arguments))
        return nullptr;
    const Node *node = static_cast<const Node *>(list_nth(arguments, number));
    const auto *value = IsA(node, Const) ? reinterpret_cast<const Const *>(node) : nullptr;
    return value != nullptr && !value->constisnull ? value : nullptr;
}

// LIKE takes any pattern but one that ends in its escape.
bool is_pattern(const Const *pattern) {
    if (pattern == nullptr)
        return false;
    const text *value = DatumGetTextPP(pattern->constvalue);
    const std::string_view bytes(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
    return bytes.find('\\') == std::string_view::npos;
}

bool is_harmless_call(Oid function, const List *arguments) {
    switch (function) {
    case F_INT4MOD: {
        const Const *divisor = constant(arguments, 1);
        return divisor != nullptr && DatumGetInt32(divisor->constvalue) > 0;
    }
    case F_TEXTLIKE:
    case F_TEXTNLIKE:
    case F_TEXTICLIKE:
    case F_TEXTICNLIKE:
        return is_pattern(constant(arguments, 1));
    default:
        break;
    }
    if (is_among(kHarmless, function))
        return true;
    return function < FirstGenbkiObjectId && get_func_leakproof(function) &&
           func_volatile(function) != PROVOLATILE_VOLATILE;
}

// A value of such a type always has a text.
bool has_plain_text(Oid type) {
    constexpr Oid kTypes[] = {BOOLOID,    INT2OID,      INT4OID,        INT8OID,   FLOAT4OID, FLOAT8OID,
                              NUMERICOID, TEXTOID,      VARCHAROID,     BPCHAROID, NAMEOID,   OIDOID,
                              DATEOID,    TIMESTAMPOID, TIMESTAMPTZOID, UUIDOID,   JSONOID,   JSONBOID};
    return is_among(kTypes, type);
}

bool is_text_of_value(const CoerceViaIO &coercion) {
    return (coercion.resulttype == TEXTOID || coercion.resulttype == VARCHAROID) &&
           has_plain_text(getBaseType(exprType(reinterpret_cast<const Node *>(coercion.arg))));
}

// Functions of "any" type write their arguments as text.
bool are_plain_texts(const List *arguments) {
    ListCell *cell;
    foreach (cell, arguments)
        if (!has_plain_text(exprType(static_cast<const Node *>(lfirst(cell)))))
            return false;
    return true;
}

// Without a collation that is known, comparisons of texts raise an error; under a nondeterministic one, searches in them.
bool has_fit_collation(Oid collation, const List *arguments) {
    if (OidIsValid(collation))
        return get_collation_isdeterministic(collation);
    ListCell *cell;
    foreach (cell, arguments) {
        const Node *argument = static_cast<const Node *>(lfirst(cell));
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
    if (!is_among(kHarmlessAggregates, aggregate.aggfnoid) || !has_fit_collation(aggregate.inputcollid, aggregate.args))
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
    case T_Param: {
        const auto *param = reinterpret_cast<const Param *>(node);
        return param->paramkind != PARAM_EXTERN &&
               (param->paramkind != PARAM_EXEC || !bms_is_member(param->paramid, ground.given));
    }
    case T_ArrayExpr:  // arrays of arrays may not fit together
        return reinterpret_cast<const ArrayExpr *>(node)->multidims;
    case T_OpExpr:
    case T_DistinctExpr:
    case T_NullIfExpr: {
        const auto *operation = reinterpret_cast<const OpExpr *>(node);
        return !OidIsValid(operation->opfuncid) || !is_harmless_call(operation->opfuncid, operation->args) ||
               !has_fit_collation(operation->inputcollid, operation->args);
    }
    case T_ScalarArrayOpExpr: {
        const auto *operation = reinterpret_cast<const ScalarArrayOpExpr *>(node);
        return !OidIsValid(operation->opfuncid) || !is_harmless_call(operation->opfuncid, operation->args) ||
               !has_fit_collation(operation->inputcollid, operation->args);
    }
    case T_FuncExpr: {
        const auto *call = reinterpret_cast<const FuncExpr *>(node);
        if ((call->funcid == F_CONCAT || call->funcid == F_CONCAT_WS) && !are_plain_texts(call->args))
            return true;
        return !is_harmless_call(call->funcid, call->args) || !has_fit_collation(call->inputcollid, call->args);
    }
    case T_CoerceViaIO:
        return !is_text_of_value(*reinterpret_cast<const CoerceViaIO *>(node));
    case T_Aggref:
        return is_harmful_aggregate(*reinterpret_cast<const Aggref *>(node));
    case T_WindowFunc: {
        const auto *function = reinterpret_cast<const WindowFunc *>(node);
        return !(is_among(kHarmlessOfWindows, function->winfnoid) ||
                 is_among(kHarmlessAggregates, function->winfnoid)) ||
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
    return !looks_on(*static_cast<const Ground *>(ground)) ||
           is_harmful_itself(node, *static_cast<const Ground *>(ground)) ||
           expression_tree_walker(node, pg::walker(is_harmful), ground);
}

// A large constant is copied with what has it, and hashed or made into a table.
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
                       [](Oid comparison) { return is_harmless_call(get_opcode(comparison), NIL); });
}

bool looks_on(const Ground &ground) {
    CHECK_FOR_INTERRUPTS();
    return *ground.looks > 0 && --*ground.looks > 0;
}

bool is_harmless(const void *expression, const Ground &ground) {
    return !is_harmful(static_cast<Node *>(const_cast<void *>(expression)), const_cast<Ground *>(&ground));
}

}  // namespace steadytext::planner
