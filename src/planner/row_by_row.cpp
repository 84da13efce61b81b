// Reasons, and the lines of EXPLAIN: see row_by_row.hpp. Regime: pg.
#include "src/pg/nodes.hpp"
#include "src/pg/tree_walk.hpp"
#include "src/planner/collect_calls.hpp"
#include "src/planner/find_calls.hpp"
#include "src/pg/explained.hpp"
#include "src/planner/place_scans.hpp"

extern "C" {
#include "catalog/pg_proc.h"
#include "commands/explain.h"
#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/ruleutils.h"
}

#include <new>
#include <utility>

namespace steadytext::planner {

using pg::as;

namespace {

constexpr int kMaxNoted = 100;

Noted *current = nullptr;
ExplainOneQuery_hook_type next_hook = nullptr;

// ---- reasons --------------------------------------------------------------------------------------------------------

const char *why(const FuncExpr &call, const Ground &ground) {
    switch (what_hinders(call, ground)) {
    case Hindrance::OtherArguments:
        return "an argument beside its text is not the same for all rows";
    case Hindrance::SameText:
        return "its text is the same for all rows";
    case Hindrance::Text:
        if (const char *blamed = ground.culprit != nullptr ? blame(*ground.culprit) : nullptr; blamed != nullptr)
            return psprintf("in its text, %s", blamed);
        return "its text might raise an error";
    case Hindrance::None:
        break;
    }
    return "whether it is made, or with which text, is known in its turn only";
}

struct Noting {
    List *&calls;
    const Plan *plan;
    const List *asked;
    const char *reason;
    const Ground &ground;
};

bool note_each(Node *node, void *context) {
    if (node == nullptr)
        return false;
    const auto &noting = *static_cast<Noting *>(context);
    if (list_length(noting.calls) >= kMaxNoted)
        return true;
    if (IsA(node, FuncExpr) && function_of(as<FuncExpr>(node)->funcid) != nullptr &&
        !list_member_ptr(noting.asked, node)) {
        if (noting.ground.culprit != nullptr && noting.reason == nullptr)
            *noting.ground.culprit = nullptr;
        const auto &call = *as<FuncExpr>(node);
        const char *reason = noting.reason != nullptr ? noting.reason : why(call, noting.ground);
        noting.calls = lappend(noting.calls, new (palloc(sizeof(RowByRow))) RowByRow{noting.plan, &call, reason});
    }
    return expression_tree_walker(node, pg::walker(note_each), context);
}

// ---- EXPLAIN --------------------------------------------------------------------------------------------------------

void put(const List *calls, ExplainState *state) {
    List *lines = NIL;
    for (const RowByRow *each : pg::each<const RowByRow>(calls))
        lines = lappend(lines, psprintf("%s: %s", each->text, each->reason));
    if (state->format == EXPLAIN_FORMAT_TEXT) {
        for (const char *each : pg::each<const char>(lines))
            ExplainPropertyText("Asked Row by Row", each, state);
    } else if (lines != NIL && pg::reopen_explained(state)) {
        ExplainPropertyList("Asked Row by Row", lines, state);
        pg::close_explained(state);
    }
}

void explain(Query *query, int options, IntoClause *into, ExplainState *state, const char *text,
             ParamListInfo parameters, QueryEnvironment *environment) {
    const pg::explain_one_query_type next = next_hook != nullptr ? next_hook : pg::standard_explain_one_query;
    Noted noted{.query = query};
    Noted *others = tell(&noted);
    PG_TRY();
    { next(query, options, into, state, text, parameters, environment); }
    PG_FINALLY();
    { (void)tell(others); }
    PG_END_TRY();
    put(noted.calls, state);
}

}  // namespace

Noted *tell(Noted *noted) { return std::exchange(current, noted); }

Noted *told_of(const Query *query) { return current != nullptr && current->query == query ? current : nullptr; }

const char *blame(const Node *culprit) {
    const auto of_function = [](Oid function) -> const char * {
        const char *name = OidIsValid(function) ? get_func_name(function) : nullptr;
        if (name != nullptr && func_volatile(function) == PROVOLATILE_VOLATILE)
            return psprintf("%s() is volatile", name);
        return name == nullptr ? "a function might raise an error" : psprintf("%s() might raise an error", name);
    };
    if (culprit == nullptr)
        return nullptr;
    switch (nodeTag(culprit)) {
    case T_FuncExpr:
        return function_of(as<FuncExpr>(culprit)->funcid) != nullptr ? "another call might raise an error"
                                                                     : of_function(as<FuncExpr>(culprit)->funcid);
    case T_OpExpr:
    case T_DistinctExpr:
    case T_NullIfExpr:
    case T_ScalarArrayOpExpr: {  // which begin alike
        const char *name = get_opname(as<OpExpr>(culprit)->opno);
        return psprintf("the operator %s might raise an error", name == nullptr ? "" : name);
    }
    case T_Aggref:
        return of_function(as<Aggref>(culprit)->aggfnoid);
    case T_WindowFunc:
        return of_function(as<WindowFunc>(culprit)->winfnoid);
    case T_CoerceViaIO:
        return psprintf("the cast to %s might raise an error", format_type_be(as<CoerceViaIO>(culprit)->resulttype));
    case T_CoerceToDomain:
        return psprintf("the cast to %s might raise an error", format_type_be(as<CoerceToDomain>(culprit)->resulttype));
    case T_SubPlan:
    case T_AlternativeSubPlan:
        return "a subquery might give several rows, or raise an error";
    case T_Param:
        return "a value from elsewhere in the statement is not there yet";
    default:
        return "an expression might raise an error";
    }
}

void note(List *&calls, const Plan *plan, const List *expressions, const List *asked, const char *reason,
          const Ground &ground) {
    Noting noting{calls, plan, asked, reason, ground};
    (void)note_each(reinterpret_cast<Node *>(const_cast<List *>(expressions)), &noting);
}

void note_all(List *&calls, const Plan *plan, const char *reason, const Ground &ground) {
    if (IsA(plan, ModifyTable)) {
        const auto *writes = as<ModifyTable>(plan);
        note(calls, plan, writes->returningLists, NIL, "a row is known once it has been written", ground);
        note(calls, plan, writes->onConflictSet, NIL, "a row is known once it is in the way", ground);
    } else if (!IsA(plan, Result) || plan->lefttree != nullptr) {  // not of a single row
        if (is_join(plan))
            note(calls, plan, as<Join>(plan)->joinqual, NIL, reason, ground);
        note(calls, plan, plan->qual, NIL, reason, ground);
        note(calls, plan, plan->targetlist, NIL, reason, ground);
    }
}

void put_into_words(Noted &noted, const PlannedStmt &statement) {
    if (noted.calls == NIL)
        return;
    auto *planned = const_cast<PlannedStmt *>(&statement);
    List *names = select_rtable_names_for_explain(planned->rtable, nullptr);
    List *context = deparse_context_for_plan_tree(planned, names);
    for (RowByRow *call : pg::each<RowByRow>(noted.calls)) {
        List *here = set_deparse_context_plan(context, const_cast<Plan *>(call->plan), NIL);
        call->text = deparse_expression(reinterpret_cast<Node *>(const_cast<FuncExpr *>(call->call)), here,
                                        list_length(planned->rtable) > 1, false);
    }
}

void install_row_by_row() {
    next_hook = ExplainOneQuery_hook;
    ExplainOneQuery_hook = explain;
}

}  // namespace steadytext::planner
