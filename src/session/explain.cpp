// Counting between the hook's beginning and its end: see explain.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/pg/explained.hpp"
#include "src/pg/nodes.hpp"
#include "src/session/explain.hpp"
#include "src/session/observe.hpp"
#include "shmem/statement_stats.hpp"

extern "C" {
#include "commands/defrem.h"
#include "executor/tuptable.h"
#include "tcop/dest.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
}

namespace steadytext::session {

namespace {

ExplainOneQuery_hook_type next_hook = nullptr;
ProcessUtility_hook_type next_utility = nullptr;

void explain(Query *query, int options, IntoClause *into, ExplainState *state, const char *text,
             ParamListInfo parameters, QueryEnvironment *environment) {
    const pg::explain_one_query_type next = next_hook != nullptr ? next_hook : pg::standard_explain_one_query;
    next(query, options, into, state, text, parameters, environment);
}

const char *words_of(const shmem::StatementCounts &counts) {
    const auto number = [](std::uint64_t value) { return static_cast<unsigned long long>(value); };
    return psprintf(
        "calls=%llu hits=%llu failures=%llu prompt tokens=%llu completion tokens=%llu saved tokens=%llu time=%.3f ms",
        number(counts.calls), number(counts.hits), number(counts.failures), number(counts.prompt_tokens),
        number(counts.completion_tokens), number(counts.saved_tokens), static_cast<double>(counts.total_us) / 1000);
}

void put_members(const shmem::StatementCounts &counts, ExplainState *state) {
    const auto number = [&](const char *name, std::uint64_t value) {
        ExplainPropertyUInteger(name, nullptr, value, state);
    };
    ExplainOpenGroup("Steadytext", "Steadytext", true, state);
    number("Calls", counts.calls);
    number("Hits", counts.hits);
    number("Failures", counts.failures);
    number("Prompt Tokens", counts.prompt_tokens);
    number("Completion Tokens", counts.completion_tokens);
    number("Saved Tokens", counts.saved_tokens);
    ExplainPropertyFloat("Time", "ms", static_cast<double>(counts.total_us) / 1000, 3, state);
    ExplainCloseGroup("Steadytext", "Steadytext", true, state);
}

void put(const shmem::StatementCounts &counts, ExplainState *state) {
    if (state->format == EXPLAIN_FORMAT_TEXT)
        return ExplainPropertyText("Steadytext", words_of(counts), state);
    if (!pg::reopen_explained(state))
        return;
    put_members(counts, state);
    pg::close_explained(state);
}

// What this process's parallel workers have done since.
void add_workers(const shmem::StatementCounts &before, shmem::StatementCounts &counts) {
    const shmem::StatementCounts now = observe::workers_so_far();
    counts.calls += now.calls - before.calls;
    counts.hits += now.hits - before.hits;
    counts.failures += now.failures - before.failures;
    counts.prompt_tokens += now.prompt_tokens - before.prompt_tokens;
    counts.completion_tokens += now.completion_tokens - before.completion_tokens;
    counts.saved_tokens += now.saved_tokens - before.saved_tokens;
    counts.total_us += now.total_us - before.total_us;
}

// The calls from its beginning on.
struct Tally {
    shmem::StatementCounts counts;
    shmem::StatementCounts before = observe::workers_so_far();
    shmem::StatementCounts *outer = observe::tally(&counts);

    void end() { (void)observe::tally(outer); }
    [[nodiscard]] shmem::StatementCounts sum() const {
        shmem::StatementCounts sum = counts;
        add_workers(before, sum);
        return sum;
    }
};

void explain_and_count(Query *query, int options, IntoClause *into, ExplainState *state, const char *text,
                       ParamListInfo parameters, QueryEnvironment *environment) {
    if (!state->analyze) {
        explain(query, options, into, state, text, parameters, environment);
        return;
    }
    Tally tally;
    PG_TRY();
    { explain(query, options, into, state, text, parameters, environment); }
    PG_FINALLY();
    { tally.end(); }
    PG_END_TRY();
    if (const shmem::StatementCounts counts = tally.sum(); counts.calls > 0)
        put(counts, state);
}

// ---- EXPLAIN (ANALYZE) EXECUTE, for which there is no hook: its lines are rows, behind which comes another ----------

struct Appending {
    DestReceiver receiver;  // first: PostgreSQL knows no more
    DestReceiver *rows;
    TupleDesc description;
    const Tally *tally;
};

Appending &appending(DestReceiver *receiver) { return *reinterpret_cast<Appending *>(receiver); }

void begin_rows(DestReceiver *receiver, int operation, TupleDesc description) {
    Appending &self = appending(receiver);
    self.description = description;
    self.rows->rStartup(self.rows, operation, description);
}

bool take_row(TupleTableSlot *row, DestReceiver *receiver) {
    DestReceiver *rows = appending(receiver).rows;
    return rows->receiveSlot(row, rows);
}

void end_rows(DestReceiver *receiver) {
    const Appending &self = appending(receiver);
    if (const shmem::StatementCounts counts = self.tally->sum(); counts.calls > 0) {
        TupleTableSlot *row = MakeSingleTupleTableSlot(self.description, &TTSOpsVirtual);
        row->tts_values[0] = CStringGetTextDatum(psprintf("Steadytext: %s", words_of(counts)));
        row->tts_isnull[0] = false;
        (void)self.rows->receiveSlot(ExecStoreVirtualTuple(row), self.rows);
        ExecDropSingleTupleTableSlot(row);
    }
    self.rows->rShutdown(self.rows);
}

void leave_rows(DestReceiver *) {}

// The statement that EXPLAIN has, or CREATE TABLE ... AS in it.
bool executes(const Node *statement) {
    if (statement != nullptr && IsA(statement, CreateTableAsStmt))
        statement = reinterpret_cast<const CreateTableAsStmt *>(statement)->query;
    if (statement == nullptr || !IsA(statement, Query))
        return statement != nullptr && IsA(statement, ExecuteStmt);
    const Node *utility = reinterpret_cast<const Query *>(statement)->utilityStmt;
    return utility != nullptr && (IsA(utility, ExecuteStmt) || (IsA(utility, CreateTableAsStmt) && executes(utility)));
}

// In text format, the default.
bool analyzes_execute(const Node *statement) {
    if (!IsA(statement, ExplainStmt))
        return false;
    const auto *explained = reinterpret_cast<const ExplainStmt *>(statement);
    bool analyzes = false, is_text = true;
    for (DefElem *option : pg::each<DefElem>(explained->options)) {
        if (strcmp(option->defname, "analyze") == 0)
            analyzes = defGetBoolean(option);
        else if (strcmp(option->defname, "format") == 0)
            is_text = strcmp(defGetString(option), "text") == 0;
    }
    return analyzes && is_text && executes(explained->query);
}

void run_utility(PlannedStmt *planned, const char *text, bool read_only_tree, ProcessUtilityContext context,
                 ParamListInfo parameters, QueryEnvironment *environment, DestReceiver *destination,
                 QueryCompletion *completion) {
    const ProcessUtility_hook_type next = next_utility != nullptr ? next_utility : standard_ProcessUtility;
    if (!analyzes_execute(planned->utilityStmt))
        return next(planned, text, read_only_tree, context, parameters, environment, destination, completion);
    Tally tally;
    Appending rows{{take_row, begin_rows, end_rows, leave_rows, destination->mydest}, destination, nullptr, &tally};
    PG_TRY();
    { next(planned, text, read_only_tree, context, parameters, environment, &rows.receiver, completion); }
    PG_FINALLY();
    { tally.end(); }
    PG_END_TRY();
}

}  // namespace

void install_explain_hook() {
    next_hook = ExplainOneQuery_hook;
    ExplainOneQuery_hook = explain_and_count;
    next_utility = ProcessUtility_hook;
    ProcessUtility_hook = run_utility;
}

}  // namespace steadytext::session
