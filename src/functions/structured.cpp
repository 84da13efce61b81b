// steadytext_generate_json, _regex, _choice and the parts of steadytext_extract: arguments in, text out. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/functions/ahead_generation.hpp"
#include "src/functions/calls.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/jsonb.hpp"
#include "src/pg/row_schema.hpp"
#include "src/pg/row_value.hpp"
#include "src/pg/text.hpp"
#include "src/pg/text_array.hpp"
#include "src/session/arguments.hpp"
#include "src/session/audit.hpp"
#include "src/session/on_failure.hpp"

#include <algorithm>

namespace {

using namespace steadytext;
using session::AnswerForm;
using session::argument_is_true;
using session::GenerationRequest;

// Prompt, form, and the arguments that all of them end with; the short names lack the last.
GenerationRequest read_request(FunctionCallInfo fcinfo, AnswerForm form) {
    GenerationRequest request;
    request.prompt = pg::text_argument(fcinfo, 0);
    request.form = form;
    request.has_max_tokens = !PG_ARGISNULL(2);
    request.max_tokens = request.has_max_tokens ? PG_GETARG_INT32(2) : 0;
    request.use_cache = argument_is_true(fcinfo, 3);
    request.has_seed = !PG_ARGISNULL(4);
    request.seed = request.has_seed ? PG_GETARG_INT32(4) : 0;
    request.unsafe_mode = argument_is_true(fcinfo, 5);
    if (PG_NARGS() > 6)
        request.model = pg::text_argument(fcinfo, 6);
    return request;
}

// ---- requests by function ----------------------------------------------------------------------------------------------

GenerationRequest json_request(FunctionCallInfo fcinfo) {
    AnswerForm form{.kind = AnswerForm::Kind::Json, .is_null = PG_ARGISNULL(1)};
    if (!form.is_null)
        form.text = pg::json_text(PG_GETARG_JSONB_P(1));
    return read_request(fcinfo, form);
}

// The schema as json or text, which keep the order of its members.
GenerationRequest written_json_request(FunctionCallInfo fcinfo) {
    const core::TextArgument schema = pg::text_argument(fcinfo, 1);
    return read_request(fcinfo, {.kind = AnswerForm::Kind::Json,
                                 .is_null = schema.is_null,
                                 .text = schema.text,
                                 .order = AnswerForm::Order::Written});
}

GenerationRequest regex_request(FunctionCallInfo fcinfo) {
    AnswerForm form{.kind = AnswerForm::Kind::Regex, .is_null = PG_ARGISNULL(1)};
    form.text = pg::text_argument(fcinfo, 1).text;
    return read_request(fcinfo, form);
}

session::ahead::Answers choices_of(FunctionCallInfo call) {
    if (call->args[1].isnull)
        return {};
    return pg::texts_of(DatumGetArrayTypeP(call->args[1].value));
}

GenerationRequest choice_request(FunctionCallInfo fcinfo) {
    AnswerForm form{.kind = AnswerForm::Kind::Choice, .is_null = PG_ARGISNULL(1)};
    if (!form.is_null)
        form.choices = pg::texts_of(PG_GETARG_ARRAYTYPE_P(1));
    return read_request(fcinfo, form);
}

}  // namespace

namespace steadytext::functions {

const session::ahead::Function kJsonAhead = {
    "steadytext_generate_json", "vvddddv", 0,    shmem::CallKind::Json, foresee_prompt,
    begin_ahead<json_request>,  text_of,   true,
};
const session::ahead::Function kWrittenJsonAhead = {
    "steadytext_generate_json_written", "vvddddv", 0,    shmem::CallKind::Json, foresee_prompt,
    begin_ahead<written_json_request>,  text_of,   true,
};
const session::ahead::Function kRegexAhead = {
    "steadytext_generate_regex", "vvddddv", 0,    shmem::CallKind::Regex, foresee_prompt,
    begin_ahead<regex_request>,  text_of,   true,
};
const session::ahead::Function kChoiceAhead = {
    "steadytext_generate_choice",
    "vvddddv",
    0,
    shmem::CallKind::Choice,
    foresee_prompt,
    begin_ahead<choice_request>,
    text_of,
    true,
    choices_of,
};

}  // namespace steadytext::functions

STEADYTEXT_FUNCTION(steadytext_generate_json) { return functions::answer<json_request>(fcinfo, functions::kJsonAhead); }

STEADYTEXT_FUNCTION(steadytext_generate_json_written) {
    return functions::answer<written_json_request>(fcinfo, functions::kWrittenJsonAhead);
}

STEADYTEXT_FUNCTION(steadytext_generate_regex) {
    return functions::answer<regex_request>(fcinfo, functions::kRegexAhead);
}

STEADYTEXT_FUNCTION(steadytext_generate_choice) {
    return functions::answer<choice_request>(fcinfo, functions::kChoiceAhead);
}

// The JSON of a row. The first argument is the text with the data, the second is the OID of the row's type.
STEADYTEXT_FUNCTION(steadytext_extract_json) {
    const core::TextArgument input = pg::text_argument(fcinfo, 0);
    session::inspect_prompt("input", input);
    session::require(core::rules::kInput, input);
    session::require(core::rules::kRowType, PG_ARGISNULL(1) ? core::Value() : core::Value::other());
    AnswerForm form{.kind = AnswerForm::Kind::Json, .order = AnswerForm::Order::AsItIs};
    form.text = pg::row_schema(PG_GETARG_OID(1));
    GenerationRequest request = read_request(fcinfo, form);
    constexpr std::string_view kInstruction = "Extract the data from the following text.\n\n";
    const char *prompt =
        psprintf("%s%.*s", kInstruction.data(), static_cast<int>(input.text.size()), input.text.data());
    request.prompt = {false, prompt};
    request.prefix_bytes = kInstruction.size();
    request.prompt_is_checked = true;
    return functions::answer(fcinfo, request, functions::text_of);
}

namespace {

// The row of the type that the JSON describes. A column that the JSON lacks keeps its value from `base`.
Datum row_of(FunctionCallInfo fcinfo, Oid type, HeapTupleHeader base, Datum json) {
    const text *object = DatumGetTextPP(json);
    Datum row = 0;
    core::Problem problem;
    if (pg::make_row(type, base, {VARDATA_ANY(object), static_cast<std::size_t>(VARSIZE_ANY_EXHDR(object))}, row,
                     problem))
        return row;
    (void)session::apply_on_failure(problem);
    PG_RETURN_NULL();
}

}  // namespace

STEADYTEXT_FUNCTION(steadytext_extract_row) {
    const Oid type = get_fn_expr_argtype(fcinfo->flinfo, 0);
    (void)pg::require_row_type(type);
    if (PG_ARGISNULL(1))
        PG_RETURN_NULL();
    return row_of(fcinfo, type, PG_ARGISNULL(0) ? nullptr : PG_GETARG_HEAPTUPLEHEADER(0), PG_GETARG_DATUM(1));
}

Datum steadytext::functions::extract(FunctionCallInfo fcinfo) {
    const Oid type = get_fn_expr_argtype(fcinfo->flinfo, 1);
    (void)pg::require_row_type(type);
    LOCAL_FCINFO(json, 7);
    InitFunctionCallInfoData(*json, fcinfo->flinfo, 7, fcinfo->fncollation, nullptr, nullptr);
    std::copy_n(fcinfo->args, 7, json->args);
    json->args[1] = {ObjectIdGetDatum(type), false};
    const Datum object = steadytext_extract_json(json);
    if (json->isnull)
        PG_RETURN_NULL();
    return row_of(fcinfo, type, PG_ARGISNULL(1) ? nullptr : PG_GETARG_HEAPTUPLEHEADER(1), object);
}
