// steadytext_explain(): the calls that a statement would make, without running it. Regime: pg.
//
//   text ──▶ one statement, analysed as the caller's ──▶ plan, with the scans of read-ahead ──▶ for each scan: a sample
//
// The scans of read-ahead tell which calls a statement makes for which rows (read_ahead.hpp). The rows below a scan are
// read only if nobody could notice: all of that part of the plan raises nothing, changes nothing, makes no calls and
// depends on no other part (is_calm_throughout() in calm.hpp), nor do the calls' arguments. Nothing above it is run.
// Arguments are evaluated for the first rows, and looked for in the cache; the others are counted, for a second. Where
// rows cannot be read there is the planner's estimate, without anything that depends on their texts.
//
// Calls that the planner would make of constants are not made (statement::explains()). The executor's start checks the
// caller's rights, as for EXPLAIN.
#include "src/pg/nodes.hpp"
#include "src/pg/tree_walk.hpp"
#include "src/core/clock.hpp"
#include "src/guc.hpp"
#include "src/planner/call_cost.hpp"
#include "src/planner/find_calls.hpp"
#include "src/planner/calm.hpp"
#include "src/planner/read_ahead.hpp"
#include "src/planner/row_by_row.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/one_statement.hpp"
#include "src/pg/own_table.hpp"
#include "src/pg/shown_text.hpp"
#include "src/pg/table_rows.hpp"
#include "shmem/segment.hpp"
#include "src/session/model_call.hpp"
#include "src/session/observe.hpp"
#include "src/session/statement.hpp"

extern "C" {
#include "common/hashfn.h"
#include "commands/explain.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "tcop/dest.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/ruleutils.h"
#include "utils/snapmgr.h"
}

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>

namespace steadytext::planner {

namespace {

using session::ahead::Foreseen;
using session::ahead::Function;

// Rows whose arguments are evaluated: as many as half of the time allows.
constexpr std::int64_t kMinSampled = 1000, kMaxSampled = 1'000'000;
constexpr std::int64_t kCountForUs = 1'000'000;

// ---- the texts of a call, row by row --------------------------------------------------------------------------------

struct Seen {
    std::uint64_t hash;
    std::uint32_t times;
};

// A call of a scan.
struct Asked {
    const Function *function = nullptr;
    const char *text = nullptr;
    const char *model = "";
    HTAB *seen = nullptr;
    std::int64_t looked_at = 0, calls = 0;  // rows of the sample, and the number of them that ask
    std::int64_t distinct = 0, once = 0;    // of calls with the cache
    std::int64_t cached = 0;                // of the distinct
    bool uses_cache = true;
    bool is_told = true;  // false: nobody knows how many rows ask, or what, before other calls have been answered
    double prompt_tokens = 0, most_answer_tokens = 0;  // as estimated, of the distinct
    // Of the answers in the cache, as a daemon had counted their tokens.
    double told_prompt = 0, told_answer = 0, estimated_of_told = 0;
    std::int64_t told = 0;
};

struct Sampled {
    MemoryContext row;
    Asked *asked;
};

HTAB *make_seen() {
    HASHCTL control{};
    control.keysize = sizeof(std::uint64_t);
    control.entrysize = sizeof(Seen);
    control.hcxt = CurrentMemoryContext;
    return hash_create("steadytext explained calls", 256, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

// A call without the cache is asked for each time.
void note_call(Asked &asked, session::ModelCall &call) {
    asked.calls++;
    asked.uses_cache = call.use_cache;
    if (asked.model[0] == '\0' && !call.spending.model.empty())
        asked.model = MemoryContextStrdup(GetMemoryChunkContext(asked.seen), pg::shown_cstring(call.spending.model));
    const double prompt = static_cast<double>(call.spending.tokens - call.spending.answer_tokens);
    if (call.use_cache) {
        std::uint64_t hash;
        std::memcpy(&hash, call.query.key.bytes, sizeof hash);
        bool found;
        auto *seen = static_cast<Seen *>(hash_search(asked.seen, &hash, HASH_ENTER, &found));
        seen->times = found ? seen->times + 1 : 1;
        asked.once += found ? (seen->times == 2 ? -1 : 0) : 1;
        if (found)
            return;
    }
    asked.distinct++;
    asked.prompt_tokens += prompt;
    asked.most_answer_tokens += static_cast<double>(call.spending.answer_tokens);
    session::CachedAnswer answer;
    if (!call.use_cache || !session::recall(call.query, answer))
        return;
    asked.cached++;
    if (answer.prompt_tokens < 0 || answer.completion_tokens < 0)
        return;
    asked.told++;
    asked.told_prompt += answer.prompt_tokens;
    asked.told_answer += answer.completion_tokens;
    asked.estimated_of_told += prompt;
}

void see(void *context, int number, const Function &function, FunctionCallInfo call) {
    const auto &sampled = *static_cast<Sampled *>(context);
    Asked &asked = sampled.asked[number];
    asked.looked_at++;
    if (call == nullptr)
        return;
    MemoryContext caller = MemoryContextSwitchTo(sampled.row);
    if (function.foresee(call) == Foreseen::Asks) {
        session::ModelCall *made = function.begin(call);
        session::observe::forget();
        note_call(asked, *made);
    }
    MemoryContextSwitchTo(caller);
    MemoryContextReset(sampled.row);
}

// ---- a row of the answer --------------------------------------------------------------------------------------------

// Of `distinct` in `sample` of `all`, as ANALYZE estimates it.
double distinct_of_all(double distinct, double once, double sample, double all) {
    if (sample <= 0 || all <= sample)
        return distinct;
    return std::clamp(sample * distinct / (sample - once + once * sample / all), distinct, all);
}

// Tokens of an answer and seconds of a call, as calls of the kind have been; negative: there were none.
struct Usual {
    double answer_tokens = -1, seconds = -1;
};

Usual usual_of(shmem::CallKind kind) {
    auto *totals = static_cast<shmem::CallTotals *>(palloc(sizeof(shmem::CallTotals)));
    *totals = shmem::segment().calls->totals();
    const auto &counts = totals->kinds[static_cast<std::size_t>(kind)];
    const auto answered = static_cast<double>(counts.outcomes[static_cast<std::size_t>(shmem::CallOutcome::Ok)]);
    double asked = 0;
    for (const std::uint64_t count : counts.response_times[0].buckets)
        asked += static_cast<double>(count);
    Usual usual;
    if (answered > 0)
        usual.answer_tokens = static_cast<double>(counts.completion_tokens) / answered;
    if (asked > 0)
        usual.seconds = static_cast<double>(counts.response_times[0].total_us) / 1e6 / asked;
    pfree(totals);
    return usual;
}

// The price of the tokens, by steadytext_prices, which a role need not be able to read.
struct Priced {
    const char *model;
    Datum prompt, completion;  // numbers of tokens
    MemoryContext memory;
    Datum cost = 0;
    bool is_known = false;
};

// steadytext_prices: model, per_million_prompt, per_million_completion, ...
void take_price(TupleTableSlot *row, void *context) {
    auto &priced = *static_cast<Priced *>(context);
    bool is_null;
    if (strcmp(TextDatumGetCString(slot_getattr(row, 1, &is_null)), priced.model) != 0)
        return;
    const auto product = [&](Datum tokens, int column) {
        return DirectFunctionCall2(numeric_mul, NumericGetDatum(int64_to_numeric(DatumGetInt64(tokens))),
                                   slot_getattr(row, column, &is_null));
    };
    MemoryContext caller = MemoryContextSwitchTo(priced.memory);
    const Datum sum = DirectFunctionCall2(numeric_add, product(priced.prompt, 2), product(priced.completion, 3));
    priced.cost = DirectFunctionCall1(
        numeric_trim_scale, DirectFunctionCall2(numeric_div, sum, NumericGetDatum(int64_to_numeric(1'000'000))));
    priced.is_known = true;
    MemoryContextSwitchTo(caller);
}

bool has_price(Priced &priced) {
    const Oid prices = pg::own_table("steadytext_prices");
    if (!OidIsValid(prices))
        return false;
    pg::lock_tables({&prices, 1}, guc::request_timeout_ms);
    pg::for_each_row(prices, take_price, &priced);
    pg::unlock_tables({&prices, 1});
    return priced.is_known;
}

constexpr int kColumns = 11;

// Calls that are made row by row have no more than that: nobody knows before how many of the rows ask.
void put_row_by_row(ReturnSetInfo *result, const RowByRow &call) {
    const Plan *rows = call.plan->lefttree != nullptr ? call.plan->lefttree : call.plan;
    Datum values[kColumns] = {};
    bool nulls[kColumns];
    std::fill(std::begin(nulls), std::end(nulls), true);
    const auto set = [&](int column, Datum value) { values[column] = value, nulls[column] = false; };
    set(0, CStringGetTextDatum(call.text));
    set(2, Int64GetDatum(static_cast<std::int64_t>(std::llround(rows->plan_rows))));
    set(10, CStringGetTextDatum(call.reason));
    tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

double in_milliseconds(double seconds) { return std::round(seconds * 1000) / 1000; }

void put(ReturnSetInfo *result, const Asked &asked, double rows, bool is_sampled) {
    Datum values[kColumns] = {};
    bool nulls[kColumns];
    std::fill(std::begin(nulls), std::end(nulls), true);
    const auto set = [&](int column, Datum value) { values[column] = value, nulls[column] = false; };
    const auto count = [&](int column, double value) {
        set(column, Int64GetDatum(static_cast<std::int64_t>(std::llround(value))));
    };
    set(0, CStringGetTextDatum(asked.text));
    if (asked.model[0] != '\0')
        set(1, CStringGetTextDatum(asked.model));
    count(2, rows);
    const auto sample = static_cast<double>(asked.looked_at);
    if (is_sampled) {
        const double calls = sample > 0 ? rows * static_cast<double>(asked.calls) / sample : 0;
        const double distinct =
            asked.uses_cache ? distinct_of_all(static_cast<double>(asked.distinct), static_cast<double>(asked.once),
                                               static_cast<double>(asked.calls), calls)
                             : calls;
        const double seen = std::max(static_cast<double>(asked.distinct), 1.0);
        const double cached = static_cast<double>(asked.cached) / seen;
        const double asks = distinct * (1 - cached);
        const Usual usual = usual_of(asked.function->kind);
        const double per_estimated =
            asked.told > 0 && asked.estimated_of_told > 0 ? asked.told_prompt / asked.estimated_of_told : 1;
        const double answer = asked.told > 0 ? asked.told_answer / static_cast<double>(asked.told)
                              : usual.answer_tokens >= 0
                                  ? std::min(usual.answer_tokens, asked.most_answer_tokens / seen)
                                  : asked.most_answer_tokens / seen;
        count(3, calls);
        count(4, distinct);
        set(5, Float8GetDatum(std::round(cached * 10'000) / 10'000));
        count(6, asks * asked.prompt_tokens / seen * per_estimated);
        count(7, asks * answer);
        if (asks < 0.5 || usual.seconds >= 0)
            set(8, Float8GetDatum(in_milliseconds(
                       asks < 0.5 ? 0
                                  : asks * usual.seconds /
                                        std::min(at_once(asked.function->kind == shmem::CallKind::Embed), asks))));
    }
    if (Priced priced{asked.model, values[6], values[7], CurrentMemoryContext}; is_sampled && has_price(priced))
        set(9, priced.cost);
    tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

// ---- scans ----------------------------------------------------------------------------------------------------------

struct Explained {
    ReturnSetInfo *result;
    const PlannedStmt *statement;
    List *names;  // of the plan's tables, for texts
    bool may_read;
    Ground at_hand;
    int rechecks = -1;  // the parameter that stands for rows that a statement that writes looks at again
};

double limited(double rows, const Reading &reading) {
    return reading.most > 0 ? std::min(rows, static_cast<double>(reading.most)) : rows;
}

// Values of subqueries that this executor runs when they are first looked at, which nobody notices. A value that another
// node of the plan would hand to a scan is not there, nor is that of a subquery which needs a row: that node is not run.
// A subquery's number is higher than the numbers of the subqueries within it.
Ground at_hand(const PlannedStmt &statement, const EState &state) {
    Ground ground = ground_of(statement);
    Bitmapset *values = nullptr;
    for (int id = -1; (id = bms_next_member(ground.given, id)) >= 0;) {
        const auto *run = static_cast<const SubPlanState *>(state.es_param_exec_vals[id].execPlan);
        if (run != nullptr && bms_is_subset(run->planstate->plan->extParam, values))
            values = bms_add_member(values, id);
    }
    ground.given = values;
    return ground;
}

// Whether the rows below a scan depend on no other part of the plan, nor do the texts that it asks with.
bool is_independent(const CustomScan &plan, const Explained &explained) {
    Bitmapset *others = bms_difference(outerPlan(&plan)->allParam, explained.at_hand.given);
    if (explained.rechecks >= 0)
        others = bms_del_member(others, explained.rechecks);
    bool is = bms_is_empty(others) && is_harmless(read_reading(plan.custom_private).tests, explained.at_hand);
    for (const FuncExpr *each : pg::each<const FuncExpr>(plan.custom_exprs))
        is = is && is_harmless(each->args, explained.at_hand);
    return is;
}

// By the planner's estimate of the work before the first row. The rows of a function are all made first, which the
// estimate leaves out.
bool begins_late(PlanState *state, void *context) {
    constexpr double kMaxCost = 200'000, kMaxRows = 1'000'000;
    const Plan *plan = state->plan;
    return plan->startup_cost > kMaxCost || (IsA(plan, FunctionScan) && plan->plan_rows > kMaxRows) ||
           planstate_tree_walker(state, pg::walker(begins_late), context);
}

void explain_scan(const Explained &explained, CustomScanState *node) {
    const auto *plan = reinterpret_cast<const CustomScan *>(node->ss.ps.plan);
    const Plan *below = outerPlan(plan);
    const Reading reading = read_reading(plan->custom_private);
    const int count = list_length(plan->custom_exprs);
    auto *asked = static_cast<Asked *>(palloc(static_cast<std::size_t>(count) * sizeof(Asked)));
    List *context = set_deparse_context_plan(explained.names, node->ss.ps.plan, NIL);
    for (int i = 0; i < count; i++) {
        auto *call = static_cast<FuncExpr *>(list_nth(plan->custom_exprs, i));
        asked[i] = Asked{};
        asked[i].function = function_of(call->funcid);
        asked[i].text = deparse_expression(reinterpret_cast<Node *>(call), context, false, false);
        asked[i].seen = make_seen();
        asked[i].is_told = !depends_on_answers(*plan, i);
    }
    double rows = below->plan_rows;
    const bool is_sampled = explained.may_read && is_independent(*plan, explained) &&
                            is_calm_throughout(below, *explained.statement) &&
                            !begins_late(outerPlanState(&node->ss.ps), nullptr);
    if (is_sampled) {
        Sampled sampled{AllocSetContextCreate(CurrentMemoryContext, "steadytext explained row", ALLOCSET_SMALL_SIZES),
                        asked};
        const std::int64_t most = reading.most > 0 ? reading.most : kMaxSampled;
        const std::int64_t now_us = core::monotonic_us();
        const RowsRead read = read_rows(node,
                                        {.told_at_least = std::min(kMinSampled, most),
                                         .told_at_most = std::min(kMaxSampled, most),
                                         .told_until_us = now_us + kCountForUs / 2,
                                         .read_until_us = now_us + kCountForUs},
                                        see, &sampled);
        rows = read.is_all ? static_cast<double>(read.rows) : std::max(rows, static_cast<double>(read.rows));
    }
    for (int i = 0; i < count; i++)
        put(explained.result, asked[i], limited(rows, reading), is_sampled && asked[i].is_told);
}

bool explain_scans(PlanState *state, void *context) {
    if (IsA(state, CustomScanState) && reinterpret_cast<const CustomScan *>(state->plan)->methods == &kScanMethods)
        explain_scan(*static_cast<Explained *>(context), reinterpret_cast<CustomScanState *>(state));
    return planstate_tree_walker(state, pg::walker(explain_scans), context);
}

// Whether a foreign server writes the rows that a scan of this plan reads, instead of the node above that writes.
bool is_written_elsewhere(const Plan *plan) {
    if (plan == nullptr)
        return false;
    if (IsA(plan, ForeignScan))
        return reinterpret_cast<const ForeignScan *>(plan)->operation != CMD_SELECT;
    if (IsA(plan, Result))
        return is_written_elsewhere(plan->lefttree);
    if (!IsA(plan, Append))
        return false;
    for (const Plan *each : pg::each<const Plan>(reinterpret_cast<const Append *>(plan)->appendplans))
        if (is_written_elsewhere(each))
            return true;
    return false;
}

// A statement that writes is begun as if it only read. Its subqueries stay: the read part may need their values.
PlannedStmt *without_writes(const PlannedStmt *statement) {
    auto *reading = makeNode(PlannedStmt);
    *reading = *statement;
    if (!IsA(reading->planTree, ModifyTable))
        return reading;
    List *subqueries = reading->planTree->initPlan;
    reading->planTree = static_cast<Plan *>(copyObjectImpl(outerPlan(reading->planTree)));
    reading->planTree->initPlan = list_concat_copy(subqueries, reading->planTree->initPlan);
    reading->commandType = CMD_SELECT;
    reading->hasReturning = false;
    reading->resultRelations = NIL;
    return reading;
}

void explain(const char *text, ReturnSetInfo *result) {
    List *row_by_row = NIL;
    PlannedStmt *statement = plan_with_calls(pg::one_statement(text), text, row_by_row);
    PlannedStmt *reading = without_writes(statement);
    const bool may_read = !statement->hasModifyingCTE && !(IsA(statement->planTree, ModifyTable) &&
                                                           is_written_elsewhere(outerPlan(statement->planTree)));
    // Either begin checks the caller's rights.
    QueryDesc *query = CreateQueryDesc(may_read ? reading : statement, text, GetActiveSnapshot(), InvalidSnapshot,
                                       None_Receiver, nullptr, nullptr, 0);
    ExecutorStart(query, (may_read ? 0 : EXEC_FLAG_EXPLAIN_ONLY) | EXEC_FLAG_SKIP_TRIGGERS);
    Explained explained{
        result, query->plannedstmt,
        deparse_context_for_plan_tree(query->plannedstmt, select_rtable_names_for_explain(reading->rtable, nullptr)),
        may_read, at_hand(*query->plannedstmt, *query->estate)};
    if (IsA(statement->planTree, ModifyTable))
        explained.rechecks = reinterpret_cast<const ModifyTable *>(statement->planTree)->epqParam;
    (void)explain_scans(query->planstate, &explained);
    for (const RowByRow *each : pg::each<const RowByRow>(row_by_row))
        put_row_by_row(result, *each);
    if (may_read)
        ExecutorFinish(query);
    ExecutorEnd(query);
    FreeQueryDesc(query);
}

}  // namespace

}  // namespace steadytext::planner

STEADYTEXT_FUNCTION(steadytext_explain) {
    using namespace steadytext;
    (void)shmem::segment();  // first of all: is the library preloaded?
    ReturnSetInfo *result = pg::materialize(fcinfo);
    const char *query = text_to_cstring(PG_GETARG_TEXT_PP(0));
    const bool explained = session::statement::explains(true);
    PG_TRY();
    { planner::explain(query, result); }
    PG_FINALLY();
    { (void)session::statement::explains(explained); }
    PG_END_TRY();
    return static_cast<Datum>(0);
}
