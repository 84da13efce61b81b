// Counting between the hook's beginning and its end: see explain.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/session/explain.hpp"
#include "src/session/observe.hpp"
#include "shmem/statement_stats.hpp"

namespace steadytext::session {

namespace {

ExplainOneQuery_hook_type next_hook = nullptr;

void explain(Query *query, int options, IntoClause *into, ExplainState *state, const char *text,
             ParamListInfo parameters, QueryEnvironment *environment) {
    const pg::explain_one_query_type next = next_hook != nullptr ? next_hook : pg::standard_explain_one_query;
    next(query, options, into, state, text, parameters, environment);
}

void put_line(const shmem::StatementCounts &counts, ExplainState *state) {
    const auto number = [](std::uint64_t value) { return static_cast<unsigned long long>(value); };
    ExplainPropertyText("Steadytext",
                        psprintf("calls=%llu hits=%llu failures=%llu prompt tokens=%llu completion tokens=%llu saved "
                                 "tokens=%llu time=%.3f ms",
                                 number(counts.calls), number(counts.hits), number(counts.failures),
                                 number(counts.prompt_tokens), number(counts.completion_tokens),
                                 number(counts.saved_tokens), static_cast<double>(counts.total_us) / 1000),
                        state);
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

// How ExplainCloseGroup() has just ended the statement's group.
const char *end_of_group(const ExplainState &state) {
    switch (state.format) {
    case EXPLAIN_FORMAT_JSON:
        return psprintf("\n%*s}", 2 * state.indent, "");
    case EXPLAIN_FORMAT_XML:
        return psprintf("%*s</Query>\n", 2 * state.indent, "");
    default:
        return "";
    }
}

// Opens the statement's group again, as if it had not been closed; false, and nothing is changed, if it does not end as expected.
bool reopen_group(ExplainState *state) {
    const char *end = end_of_group(*state);
    const auto length = static_cast<int>(strlen(end));
    StringInfo text = state->str;
    if (text->len < length || memcmp(text->data + text->len - length, end, static_cast<std::size_t>(length)) != 0)
        return false;
    text->len -= length;
    text->data[text->len] = '\0';
    state->indent++;
    if (state->format != EXPLAIN_FORMAT_XML)
        state->grouping_stack = lcons_int(1, state->grouping_stack);  // it has members
    return true;
}

void put(const shmem::StatementCounts &counts, ExplainState *state) {
    if (state->format == EXPLAIN_FORMAT_TEXT)
        return put_line(counts, state);
    if (!reopen_group(state))
        return;
    put_members(counts, state);
    ExplainCloseGroup("Query", nullptr, true, state);
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

void explain_and_count(Query *query, int options, IntoClause *into, ExplainState *state, const char *text,
                       ParamListInfo parameters, QueryEnvironment *environment) {
    if (!state->analyze) {
        explain(query, options, into, state, text, parameters, environment);
        return;
    }
    shmem::StatementCounts counts;
    const shmem::StatementCounts before = observe::workers_so_far();
    shmem::StatementCounts *outer = observe::tally(&counts);
    PG_TRY();
    { explain(query, options, into, state, text, parameters, environment); }
    PG_FINALLY();
    { (void)observe::tally(outer); }
    PG_END_TRY();
    add_workers(before, counts);
    if (counts.calls > 0)
        put(counts, state);
}

}  // namespace

void install_explain_hook() {
    next_hook = ExplainOneQuery_hook;
    ExplainOneQuery_hook = explain_and_count;
}

}  // namespace steadytext::session
