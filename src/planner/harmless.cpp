// Lists of functions and nodes that are known to be harmless: see harmless.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/planner/harmless.hpp"
#include "src/planner/one_row.hpp"

extern "C" {
#include "access/transam.h"
#include "catalog/pg_type.h"
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

// What compares the values of a sort or a group, row by row.
bool are_harmless_operators(const Oid *operators, int count) {
    return std::all_of(operators, operators + count,
                       [](Oid comparison) { return is_harmless_call(get_opcode(comparison), NIL); });
}

// ---- expressions ----------------------------------------------------------------------------------------------------

bool is_harmful(Node *node, void *ground);
// C++ allows the cast only through another function type.
const auto walker = reinterpret_cast<pg::tree_walker_type>(reinterpret_cast<void (*)()>(is_harmful));

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

bool gives_harmlessly(const SubPlan &subplan, const Ground &ground);

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
    case T_SubPlan:
        return !gives_harmlessly(*reinterpret_cast<const SubPlan *>(node), ground);
    default:
        return true;
    }
}

bool is_harmful(Node *node, void *ground) {
    if (node == nullptr)
        return false;
    return is_harmful_itself(node, *static_cast<const Ground *>(ground)) ||
           expression_tree_walker(node, walker, ground);
}

// ---- plans ----------------------------------------------------------------------------------------------------------

// The statement, and how far to look.
struct View : Ground {
    bool is_whole;  // what is read whole before its first row too
};

bool is_calm(const Plan *plan, const View &view, bool but_for_output = false);

// What may be read whole long after the first row of what is above it, or again and again.
View throughout(const Ground &ground) { return {ground, true}; }

bool are_calm(const List *plans, const View &view) {
    ListCell *cell;
    foreach (cell, plans)
        if (!is_calm(static_cast<const Plan *>(lfirst(cell)), view))
            return false;
    return true;
}

bool are_harmless(const List *functions, const View &view) {
    ListCell *cell;
    foreach (cell, functions)
        if (!is_harmless(static_cast<const RangeTblFunction *>(lfirst(cell))->funcexpr, view))
            return false;
    return true;
}

bool is_calm_join(const Join &join, const View &view, bool inner_is_read_first) {
    return is_harmless(join.joinqual, view) && is_calm(join.plan.lefttree, view) &&
           is_calm(join.plan.righttree, inner_is_read_first ? view : throughout(view));
}

bool is_calm_aggregate(const Agg &aggregate, const View &view) {
    if (aggregate.groupingSets != NIL || aggregate.chain != NIL ||
        !are_harmless_operators(aggregate.grpOperators, aggregate.numCols))
        return false;
    const bool is_read_whole = aggregate.aggstrategy == AGG_PLAIN || aggregate.aggstrategy == AGG_HASHED;
    return (is_read_whole && !view.is_whole) || is_calm(aggregate.plan.lefttree, view);
}

// A negative count raises an error.
bool is_harmless_limit(const Node *count) {
    return count == nullptr ||
           (IsA(count, Const) && (reinterpret_cast<const Const *>(count)->constisnull ||
                                  DatumGetInt64(reinterpret_cast<const Const *>(count)->constvalue) >= 0));
}

bool is_calm_input(const Plan *plan, const View &view) {
    return plan->righttree == nullptr && (plan->lefttree == nullptr || is_calm(plan->lefttree, view));
}

// Every field of a node that holds expressions or operators is looked at, or computed whole before the first row. What is
// read whole before its first row, as the input of a sort, is read at the same moment either way; but not on the inner
// side of a nested loop, where that is each time anew, nor in the later inputs of an Append.
bool is_calm_inside(const Plan *plan, const View &view) {
    switch (nodeTag(plan)) {
    case T_SeqScan:
        return true;
    case T_FunctionScan:
        return !view.is_whole || are_harmless(reinterpret_cast<const FunctionScan *>(plan)->functions, view);
    case T_Sort: {
        const auto *sort = reinterpret_cast<const Sort *>(plan);
        return !view.is_whole ||
               (are_harmless_operators(sort->sortOperators, sort->numCols) && is_calm(plan->lefttree, view));
    }
    case T_Hash:
        return !view.is_whole ||
               (is_harmless(reinterpret_cast<const Hash *>(plan)->hashkeys, view) && is_calm(plan->lefttree, view));
    case T_IndexScan: {
        const auto *scan = reinterpret_cast<const IndexScan *>(plan);
        return is_harmless(scan->indexqualorig, view) && is_harmless(scan->indexorderbyorig, view);
    }
    case T_IndexOnlyScan: {
        const auto *scan = reinterpret_cast<const IndexOnlyScan *>(plan);
        return is_harmless(scan->indexqual, view) && is_harmless(scan->indexorderby, view);
    }
    case T_BitmapHeapScan:  // which has the conditions of the indexes below too
        return is_harmless(reinterpret_cast<const BitmapHeapScan *>(plan)->bitmapqualorig, view);
    case T_TidScan:
        return is_harmless(reinterpret_cast<const TidScan *>(plan)->tidquals, view);
    case T_TidRangeScan:
        return is_harmless(reinterpret_cast<const TidRangeScan *>(plan)->tidrangequals, view);
    case T_ValuesScan:
        return is_harmless(reinterpret_cast<const ValuesScan *>(plan)->values_lists, view);
    case T_SubqueryScan:
        return is_calm(reinterpret_cast<const SubqueryScan *>(plan)->subplan, view);
    case T_CteScan:
        return is_calm(static_cast<const Plan *>(
                           list_nth(view.statement->subplans, reinterpret_cast<const CteScan *>(plan)->ctePlanId - 1)),
                       view);
    case T_NestLoop:
        return is_calm_join(*reinterpret_cast<const Join *>(plan), view, false);
    case T_HashJoin: {
        const auto *join = reinterpret_cast<const HashJoin *>(plan);
        return is_harmless(join->hashclauses, view) && is_harmless(join->hashkeys, view) &&
               is_calm_join(join->join, view, true);
    }
    case T_MergeJoin: {  // an outer row without a key may be handed on before the inner side is read
        const auto *join = reinterpret_cast<const MergeJoin *>(plan);
        return is_harmless(join->mergeclauses, view) &&
               is_calm_join(join->join, view, join->join.jointype == JOIN_INNER);
    }
    case T_Append:
        return are_calm(reinterpret_cast<const Append *>(plan)->appendplans, throughout(view));
    case T_MergeAppend: {
        const auto *append = reinterpret_cast<const MergeAppend *>(plan);
        return are_harmless_operators(append->sortOperators, append->numCols) && are_calm(append->mergeplans, view);
    }
    case T_Agg:
        return is_calm_aggregate(*reinterpret_cast<const Agg *>(plan), view);
    case T_IncrementalSort: {
        const auto &sort = reinterpret_cast<const IncrementalSort *>(plan)->sort;
        return are_harmless_operators(sort.sortOperators, sort.numCols) && is_calm_input(plan, view);
    }
    case T_Memoize: {
        const auto *memoize = reinterpret_cast<const Memoize *>(plan);
        return is_harmless(memoize->param_exprs, view) &&
               are_harmless_operators(memoize->hashOperators, memoize->numKeys) && is_calm_input(plan, view);
    }
    case T_Limit: {
        const auto *limit = reinterpret_cast<const Limit *>(plan);
        return (!view.is_whole || (is_harmless_limit(limit->limitCount) && is_harmless_limit(limit->limitOffset))) &&
               are_harmless_operators(limit->uniqOperators, limit->uniqNumCols) && is_calm_input(plan, view);
    }
    case T_Unique: {
        const auto *unique = reinterpret_cast<const Unique *>(plan);
        return are_harmless_operators(unique->uniqOperators, unique->numCols) && is_calm_input(plan, view);
    }
    case T_Group: {
        const auto *group = reinterpret_cast<const Group *>(plan);
        return are_harmless_operators(group->grpOperators, group->numCols) && is_calm_input(plan, view);
    }
    case T_Result:
        return (!view.is_whole || is_harmless(reinterpret_cast<const Result *>(plan)->resconstantqual, view)) &&
               is_calm_input(plan, view);
    case T_Material:
    case T_ProjectSet:
        return is_calm_input(plan, view);
    default:
        return false;
    }
}

bool is_calm(const Plan *plan, const View &view, bool but_for_output) {
    if (plan == nullptr)
        return false;
    if (!but_for_output && !(is_harmless(plan->targetlist, view) && is_harmless(plan->qual, view)))
        return false;
    return is_calm_inside(plan, view);
}

// ---- parameters of the executor -------------------------------------------------------------------------------------

// A value that a subquery gives raises an error if there is more than one.
bool gives_harmlessly(const SubPlan &subplan, const Ground &ground) {
    const auto *plan = static_cast<const Plan *>(list_nth(ground.statement->subplans, subplan.plan_id - 1));
    if (subplan.subLinkType != EXISTS_SUBLINK && !(subplan.subLinkType == EXPR_SUBLINK && has_one_row(plan, ground)))
        return false;
    Ground within = ground;  // its arguments are looked at where it stands
    ListCell *cell;
    foreach (cell, subplan.parParam)
        within.given = bms_add_member(bms_copy(within.given), lfirst_int(cell));
    return is_calm(plan, throughout(within));
}

struct Parameters {
    Bitmapset *given;
    List *subplans;  // that are run when their value is first looked at
};

void find_parameters(const Plan *plan, Parameters &parameters);

void find_parameters(const List *plans, Parameters &parameters) {
    ListCell *cell;
    foreach (cell, plans)
        find_parameters(static_cast<const Plan *>(lfirst(cell)), parameters);
}

void find_parameters(const Plan *plan, Parameters &parameters) {
    if (plan == nullptr)
        return;
    parameters.subplans = list_concat(parameters.subplans, plan->initPlan);
    find_parameters(plan->lefttree, parameters);
    find_parameters(plan->righttree, parameters);
    switch (nodeTag(plan)) {
    case T_NestLoop: {
        ListCell *cell;
        foreach (cell, reinterpret_cast<const NestLoop *>(plan)->nestParams)
            parameters.given =
                bms_add_member(parameters.given, static_cast<const NestLoopParam *>(lfirst(cell))->paramno);
        return;
    }
    case T_SubqueryScan:
        return find_parameters(reinterpret_cast<const SubqueryScan *>(plan)->subplan, parameters);
    case T_Append:
        return find_parameters(reinterpret_cast<const Append *>(plan)->appendplans, parameters);
    case T_MergeAppend:
        return find_parameters(reinterpret_cast<const MergeAppend *>(plan)->mergeplans, parameters);
    default:  // what else there may be is not given
        return;
    }
}

}  // namespace

bool is_harmless(const void *expression, const Ground &ground) {
    return !is_harmful(static_cast<Node *>(const_cast<void *>(expression)), const_cast<Ground *>(&ground));
}

bool is_calm(const Plan *plan, const Ground &ground, bool but_for_output) {
    return is_calm(plan, View{ground, false}, but_for_output);
}

bool is_calm_throughout(const Plan *plan, const PlannedStmt &statement) {
    return is_calm(plan, throughout(ground_of(statement)));
}

Ground ground_of(const PlannedStmt &statement) {
    Parameters parameters{};
    find_parameters(statement.planTree, parameters);
    find_parameters(statement.subplans, parameters);
    for (bool any = true; any;) {  // one may look at another
        any = false;
        ListCell *cell;
        foreach (cell, parameters.subplans) {
            const auto *subplan = static_cast<const SubPlan *>(lfirst(cell));
            if (list_length(subplan->setParam) != 1 ||
                bms_is_member(linitial_int(subplan->setParam), parameters.given) ||
                !gives_harmlessly(*subplan, {&statement, parameters.given}))
                continue;
            parameters.given = bms_add_member(parameters.given, linitial_int(subplan->setParam));
            any = true;
        }
    }
    return {&statement, parameters.given};
}

}  // namespace steadytext::planner
