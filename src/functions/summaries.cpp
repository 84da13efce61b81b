// The aggregates steadytext_summarize, _partial, _final and steadytext_agg, what they are made of, and
// steadytext_summarize_text. Regime: pg.
//
// The aggregates' own state is not jsonb: a row costs its own length, not that of the state. The public functions on
// jsonb states do the same a state at a time.
#include "src/pg/compat.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/text.hpp"
#include "shmem/segment.hpp"
#include "src/core/prose.hpp"
#include "src/session/arguments.hpp"
#include "src/session/audit.hpp"
#include "src/session/summaries.hpp"

namespace {

using namespace steadytext;
using core::SummaryState;
using core::TextArgument;

Jsonb *jsonb_argument(FunctionCallInfo fcinfo, int number) {
    return PG_ARGISNULL(number) ? nullptr : PG_GETARG_JSONB_P(number);
}

SummaryState *summary_argument(FunctionCallInfo fcinfo, int number) {
    return PG_ARGISNULL(number) ? nullptr : reinterpret_cast<SummaryState *>(PG_GETARG_POINTER(number));
}

Datum text_or_null(FunctionCallInfo fcinfo, const TextArgument &text) {
    if (text.is_null)
        PG_RETURN_NULL();
    return pg::text_datum(text.text);
}

TextArgument value_argument(FunctionCallInfo fcinfo, int number) {
    const TextArgument value = pg::text_argument(fcinfo, number);
    session::require(core::rules::kSummarizedText, value);
    return value;
}

// The memory of the aggregate that calls.
MemoryContext require_aggregate(FunctionCallInfo fcinfo) {
    MemoryContext context;
    if (AggCheckCallContext(fcinfo, &context) == 0)
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("only an aggregate may call this function")));
    return context;
}

SummaryState *state_of_aggregate(FunctionCallInfo fcinfo) {
    MemoryContext context = require_aggregate(fcinfo);
    SummaryState *state = summary_argument(fcinfo, 0);
    return state != nullptr ? state : session::make_summary(context);
}

Datum as_datum(const SummaryState &state) { return JsonbPGetDatum(session::state_jsonb(state)); }

// The two states as one; one that is NULL gives the other as it is, once that has been found to be a state.
Datum combined(FunctionCallInfo fcinfo) {
    Jsonb *states[] = {jsonb_argument(fcinfo, 0), jsonb_argument(fcinfo, 1)};
    SummaryState *state = session::make_summary(CurrentMemoryContext);
    for (Jsonb *told : states)
        if (told != nullptr)
            session::add_state(*state, told);
    if (states[0] != nullptr && states[1] != nullptr)
        return as_datum(*state);
    if (states[0] == nullptr && states[1] == nullptr)
        PG_RETURN_NULL();
    return JsonbPGetDatum(states[0] != nullptr ? states[0] : states[1]);
}

}  // namespace

// ---- functions on states that are jsonb -----------------------------------------------------------------------------

STEADYTEXT_FUNCTION(steadytext_summarize_accumulate) {
    SummaryState *state = session::make_summary(CurrentMemoryContext);
    Jsonb *told = jsonb_argument(fcinfo, 0);
    const TextArgument value = value_argument(fcinfo, 1);
    if (told != nullptr)
        session::add_state(*state, told);
    session::add_row(*state, value, jsonb_argument(fcinfo, 2));
    if (told != nullptr && (value.is_null || value.text.empty()))
        PG_RETURN_DATUM(JsonbPGetDatum(told));
    return as_datum(*state);
}

STEADYTEXT_FUNCTION(steadytext_summarize_combine) { return combined(fcinfo); }

STEADYTEXT_FUNCTION(steadytext_summarize_combine_states) { return combined(fcinfo); }

STEADYTEXT_FUNCTION(steadytext_summarize_finalize) {
    (void)shmem::segment();  // first of all: is the library preloaded?
    SummaryState *state = session::make_summary(CurrentMemoryContext);
    if (!PG_ARGISNULL(0))
        session::add_state(*state, PG_GETARG_JSONB_P(0));
    return text_or_null(fcinfo, session::summarized(*state));
}

// Without the name of a model no model is asked, as in the original.
STEADYTEXT_FUNCTION(steadytext_summarize_text) {
    constexpr std::size_t kShown = 100;
    const TextArgument input = value_argument(fcinfo, 0);
    Jsonb *metadata = jsonb_argument(fcinfo, 1);
    const TextArgument model = pg::text_argument(fcinfo, 2);
    const bool unsafe_mode = session::argument_is_true(fcinfo, 3);
    session::inspect_name("model", model, core::rules::kModel.most);
    session::require(core::rules::kModel, model);
    if (metadata != nullptr && !JB_ROOT_IS_OBJECT(metadata))
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("metadata must be a JSON object")));
    if (!model.is_null)
        return text_or_null(fcinfo, session::summarized(input.text, metadata, model, unsafe_mode));
    if (input.text.empty())
        return pg::text_datum("No text to summarize");
    const std::string_view shown = core::first_characters(input.text, kShown);
    return pg::text_datum(std::string_view(psprintf("Summary: %.*s%s", static_cast<int>(shown.size()), shown.data(),
                                                    shown.size() < input.text.size() ? "..." : "")));
}

// ---- what the aggregates are made of --------------------------------------------------------------------------------

STEADYTEXT_FUNCTION(steadytext_summary_add) {
    SummaryState *state = state_of_aggregate(fcinfo);
    session::add_row(*state, value_argument(fcinfo, 1), jsonb_argument(fcinfo, 2));
    PG_RETURN_POINTER(state);
}

STEADYTEXT_FUNCTION(steadytext_summary_add_state) {
    SummaryState *state = state_of_aggregate(fcinfo);
    if (!PG_ARGISNULL(1))
        session::add_state(*state, PG_GETARG_JSONB_P(1));
    PG_RETURN_POINTER(state);
}

// steadytext_agg(): the instruction comes with each row.
STEADYTEXT_FUNCTION(steadytext_summary_add_input) {
    SummaryState *state = state_of_aggregate(fcinfo);
    const TextArgument prompt = pg::text_argument(fcinfo, 1);
    if (state->prompt().empty() || prompt.text != state->prompt()) {
        session::inspect_prompt("prompt", prompt);
        session::require(core::rules::kPrompt, prompt);
        pg::guarded([&](core::Problem &problem) { return state->set_prompt(prompt.text, problem); });
    }
    session::add_row(*state, value_argument(fcinfo, 2), nullptr);
    PG_RETURN_POINTER(state);
}

STEADYTEXT_FUNCTION(steadytext_summary_merge) {
    MemoryContext context = require_aggregate(fcinfo);
    SummaryState *state = summary_argument(fcinfo, 0);
    const SummaryState *other = summary_argument(fcinfo, 1);
    if (other == nullptr && state == nullptr)
        PG_RETURN_NULL();
    if (state == nullptr)
        state = session::make_summary(context);
    if (other != nullptr)
        session::merge(*state, *other);
    PG_RETURN_POINTER(state);
}

STEADYTEXT_FUNCTION(steadytext_summary_serialize) {
    (void)require_aggregate(fcinfo);
    const std::string_view json = session::state_text(*summary_argument(fcinfo, 0));
    auto *bytes = static_cast<bytea *>(palloc(VARHDRSZ + json.size()));
    SET_VARSIZE(bytes, VARHDRSZ + json.size());
    json.copy(VARDATA(bytes), json.size());
    PG_RETURN_BYTEA_P(bytes);
}

STEADYTEXT_FUNCTION(steadytext_summary_deserialize) {
    (void)require_aggregate(fcinfo);
    const bytea *bytes = PG_GETARG_BYTEA_PP(0);
    SummaryState *state = session::make_summary(CurrentMemoryContext);
    session::add_state(*state,
                       session::parsed({VARDATA_ANY(bytes), static_cast<std::size_t>(VARSIZE_ANY_EXHDR(bytes))}), true);
    PG_RETURN_POINTER(state);
}

STEADYTEXT_FUNCTION(steadytext_summary_state) {
    (void)require_aggregate(fcinfo);
    const SummaryState *state = summary_argument(fcinfo, 0);
    if (state == nullptr)
        PG_RETURN_NULL();
    return as_datum(*state);
}

// Without any row there is no state, and the text says that there is nothing.
STEADYTEXT_FUNCTION(steadytext_summary_text) {
    (void)shmem::segment();
    (void)require_aggregate(fcinfo);
    const SummaryState *state = summary_argument(fcinfo, 0);
    return text_or_null(fcinfo,
                        session::summarized(state != nullptr ? *state : *session::make_summary(CurrentMemoryContext)));
}

STEADYTEXT_FUNCTION(steadytext_summary_answer) {
    (void)shmem::segment();
    (void)require_aggregate(fcinfo);
    const SummaryState *state = summary_argument(fcinfo, 0);
    if (state == nullptr)
        PG_RETURN_NULL();
    return text_or_null(fcinfo, session::answered(*state));
}
