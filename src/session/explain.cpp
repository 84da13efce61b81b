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

void put(const shmem::StatementCounts &counts, ExplainState *state) {
    const auto number = [](std::uint64_t value) { return static_cast<unsigned long long>(value); };
    ExplainPropertyText("Steadytext",
                        psprintf("calls=%llu hits=%llu failures=%llu prompt tokens=%llu completion tokens=%llu saved "
                                 "tokens=%llu time=%.3f ms",
                                 number(counts.calls), number(counts.hits), number(counts.failures),
                                 number(counts.prompt_tokens), number(counts.completion_tokens),
                                 number(counts.saved_tokens), static_cast<double>(counts.total_us) / 1000),
                        state);
}

void explain_and_count(Query *query, int options, IntoClause *into, ExplainState *state, const char *text,
                       ParamListInfo parameters, QueryEnvironment *environment) {
    if (!state->analyze || state->format != EXPLAIN_FORMAT_TEXT) {
        explain(query, options, into, state, text, parameters, environment);
        return;
    }
    shmem::StatementCounts counts;
    shmem::StatementCounts *outer = observe::tally(&counts);
    PG_TRY();
    { explain(query, options, into, state, text, parameters, environment); }
    PG_FINALLY();
    { (void)observe::tally(outer); }
    PG_END_TRY();
    if (counts.calls > 0)
        put(counts, state);
}

}  // namespace

void install_explain_hook() {
    next_hook = ExplainOneQuery_hook;
    ExplainOneQuery_hook = explain_and_count;
}

}  // namespace steadytext::session
