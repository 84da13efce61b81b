// Lists of functions and nodes that are known to be harmless: see harmless.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/planner/harmless.hpp"

extern "C" {
#include "access/transam.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
}

#include <algorithm>
#include <iterator>
#include <string_view>

namespace steadytext::planner {

namespace {

// ---- functions ------------------------------------------------------------------------------------------------------

// Beside those that PostgreSQL calls leakproof.
constexpr Oid kHarmless[] = {
    F_TEXTCAT,
    F_TEXTANYCAT,
    F_ANYTEXTCAT,
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
    F_JSON_OBJECT_FIELD_TEXT,
    F_JSON_ARRAY_ELEMENT_TEXT,
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
    if (std::find(std::begin(kHarmless), std::end(kHarmless), function) != std::end(kHarmless))
        return true;
    return get_func_leakproof(function) && func_volatile(function) != PROVOLATILE_VOLATILE;
}

// A value of such a type always has a text.
bool has_plain_text(Oid type) {
    constexpr Oid kTypes[] = {BOOLOID,    INT2OID,      INT4OID,        INT8OID,   FLOAT4OID, FLOAT8OID,
                              NUMERICOID, TEXTOID,      VARCHAROID,     BPCHAROID, NAMEOID,   OIDOID,
                              DATEOID,    TIMESTAMPOID, TIMESTAMPTZOID, UUIDOID,   JSONOID,   JSONBOID};
    return std::find(std::begin(kTypes), std::end(kTypes), type) != std::end(kTypes);
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

// ---- expressions ----------------------------------------------------------------------------------------------------

bool is_harmful(Node *node, void *);
// C++ allows the cast only through another function type.
const auto walker = reinterpret_cast<pg::tree_walker_type>(reinterpret_cast<void (*)()>(is_harmful));

bool is_harmful_itself(const Node *node) {
    switch (nodeTag(node)) {
    case T_Var:
    case T_Const:
    case T_Param:
    case T_RelabelType:
    case T_CollateExpr:
    case T_CoalesceExpr:
    case T_CaseExpr:
    case T_CaseWhen:
    case T_CaseTestExpr:
    case T_BoolExpr:
    case T_NullTest:
    case T_BooleanTest:
    case T_ArrayExpr:
    case T_List:
    case T_TargetEntry:
    case T_GroupingFunc:
        return false;
    case T_OpExpr:
    case T_DistinctExpr:
    case T_NullIfExpr: {
        const auto *operation = reinterpret_cast<const OpExpr *>(node);
        return !OidIsValid(operation->opfuncid) || !is_harmless_call(operation->opfuncid, operation->args);
    }
    case T_ScalarArrayOpExpr: {
        const auto *operation = reinterpret_cast<const ScalarArrayOpExpr *>(node);
        return !OidIsValid(operation->opfuncid) || !is_harmless_call(operation->opfuncid, operation->args);
    }
    case T_FuncExpr: {
        const auto *call = reinterpret_cast<const FuncExpr *>(node);
        if ((call->funcid == F_CONCAT || call->funcid == F_CONCAT_WS) && !are_plain_texts(call->args))
            return true;
        return !is_harmless_call(call->funcid, call->args);
    }
    case T_CoerceViaIO:
        return !is_text_of_value(*reinterpret_cast<const CoerceViaIO *>(node));
    case T_Aggref:
        return reinterpret_cast<const Aggref *>(node)->aggfnoid >= FirstGenbkiObjectId;
    default:
        return true;
    }
}

bool is_harmful(Node *node, void *) {
    if (node == nullptr)
        return false;
    return is_harmful_itself(node) || expression_tree_walker(node, walker, nullptr);
}

// ---- plans ----------------------------------------------------------------------------------------------------------

bool are_harmless(const List *functions) {
    ListCell *cell;
    foreach (cell, functions)
        if (!is_harmless(static_cast<const RangeTblFunction *>(lfirst(cell))->funcexpr))
            return false;
    return true;
}

// The statement, and how far to look.
struct View {
    const PlannedStmt &statement;
    bool is_whole;  // what is read whole before its first row too
};

bool is_calm(const Plan *plan, const View &view, bool but_for_output = false);

bool are_calm(const List *plans, const View &view) {
    ListCell *cell;
    foreach (cell, plans)
        if (!is_calm(static_cast<const Plan *>(lfirst(cell)), view))
            return false;
    return true;
}

bool is_calm_join(const Join &join, const View &view) {
    return is_harmless(join.joinqual) && is_calm(join.plan.lefttree, view) && is_calm(join.plan.righttree, view);
}

// What is read whole before its first row, as the input of a sort, is read at the same moment either way.
bool is_calm_inside(const Plan *plan, const View &view) {
    switch (nodeTag(plan)) {
    case T_SeqScan:
        return true;
    case T_FunctionScan:
        return !view.is_whole || are_harmless(reinterpret_cast<const FunctionScan *>(plan)->functions);
    case T_Sort:
    case T_Hash:
        return !view.is_whole || is_calm(plan->lefttree, view);
    case T_IndexScan: {
        const auto *scan = reinterpret_cast<const IndexScan *>(plan);
        return is_harmless(scan->indexqualorig) && is_harmless(scan->indexorderbyorig);
    }
    case T_IndexOnlyScan: {
        const auto *scan = reinterpret_cast<const IndexOnlyScan *>(plan);
        return is_harmless(scan->indexqual) && is_harmless(scan->indexorderby);
    }
    case T_BitmapHeapScan:
        return is_harmless(reinterpret_cast<const BitmapHeapScan *>(plan)->bitmapqualorig);
    case T_TidScan:
        return is_harmless(reinterpret_cast<const TidScan *>(plan)->tidquals);
    case T_TidRangeScan:
        return is_harmless(reinterpret_cast<const TidRangeScan *>(plan)->tidrangequals);
    case T_ValuesScan:
        return is_harmless(reinterpret_cast<const ValuesScan *>(plan)->values_lists);
    case T_SubqueryScan:
        return is_calm(reinterpret_cast<const SubqueryScan *>(plan)->subplan, view);
    case T_CteScan:
        return is_calm(static_cast<const Plan *>(
                           list_nth(view.statement.subplans, reinterpret_cast<const CteScan *>(plan)->ctePlanId - 1)),
                       view);
    case T_NestLoop:
        return is_calm_join(*reinterpret_cast<const Join *>(plan), view);
    case T_HashJoin:
        return is_harmless(reinterpret_cast<const HashJoin *>(plan)->hashclauses) &&
               is_calm_join(*reinterpret_cast<const Join *>(plan), view);
    case T_MergeJoin:
        return is_harmless(reinterpret_cast<const MergeJoin *>(plan)->mergeclauses) &&
               is_calm_join(*reinterpret_cast<const Join *>(plan), view);
    case T_Append:
        return are_calm(reinterpret_cast<const Append *>(plan)->appendplans, view);
    case T_MergeAppend:
        return are_calm(reinterpret_cast<const MergeAppend *>(plan)->mergeplans, view);
    case T_Agg: {
        const auto *aggregate = reinterpret_cast<const Agg *>(plan);
        const bool is_read_whole = aggregate->aggstrategy == AGG_PLAIN || aggregate->aggstrategy == AGG_HASHED;
        return (is_read_whole && aggregate->groupingSets == NIL && !view.is_whole) || is_calm(plan->lefttree, view);
    }
    case T_IncrementalSort:
    case T_Material:
    case T_Memoize:
    case T_Limit:
    case T_Unique:
    case T_Group:
    case T_SetOp:
    case T_Result:
    case T_ProjectSet:
        return (plan->lefttree == nullptr || is_calm(plan->lefttree, view)) &&
               (plan->righttree == nullptr || is_calm(plan->righttree, view));
    default:
        return false;
    }
}

bool is_calm(const Plan *plan, const View &view, bool but_for_output) {
    if (plan == nullptr)
        return false;
    if (!but_for_output && !(is_harmless(plan->targetlist) && is_harmless(plan->qual)))
        return false;
    return is_calm_inside(plan, view);
}

}  // namespace

bool is_harmless(const void *expression) {
    return !is_harmful(static_cast<Node *>(const_cast<void *>(expression)), nullptr);
}

bool is_calm(const Plan *plan, const PlannedStmt &statement, bool but_for_output) {
    return is_calm(plan, View{statement, false}, but_for_output);
}

bool is_calm_throughout(const Plan *plan, const PlannedStmt &statement) { return is_calm(plan, View{statement, true}); }

}  // namespace steadytext::planner
