// steadytext_generate, steadytext_generate_stream and steadytext_generate_ex: arguments in, rows out. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/jsonb.hpp"
#include "src/pg/result_row.hpp"
#include "src/functions/ahead_generation.hpp"
#include "src/session/arguments.hpp"
#include "src/session/generation_stream.hpp"

namespace {

using namespace steadytext;
using session::argument_is_true;
using session::Generation;
using session::GenerationRequest;

void warn_of_unknown_size(const core::TextArgument &size) {
    if (!size.is_null && !core::has_word(core::rules::kSizes, size.text))
        ereport(WARNING, (errcode(ERRCODE_WARNING),
                          errmsg("unknown size \"%s\"; the default model answers", pg::copy_text(size.text).data()),
                          errhint("Sizes are mini, small, medium and large.")));
}

// The arguments of steadytext_generate and steadytext_generate_stream.
GenerationRequest request_of(FunctionCallInfo fcinfo) {
    GenerationRequest request;
    request.prompt = pg::text_argument(fcinfo, 0);
    request.has_max_tokens = !PG_ARGISNULL(1);
    request.max_tokens = request.has_max_tokens ? PG_GETARG_INT32(1) : 0;
    request.use_cache = argument_is_true(fcinfo, 2);
    request.has_seed = !PG_ARGISNULL(3);
    request.seed = request.has_seed ? PG_GETARG_INT32(3) : 0;
    request.eos_string = pg::text_argument(fcinfo, 4);
    request.model = pg::text_argument(fcinfo, 5);
    request.model_repo = pg::text_argument(fcinfo, 6);
    request.model_filename = pg::text_argument(fcinfo, 7);
    request.size = pg::text_argument(fcinfo, 8);
    request.unsafe_mode = argument_is_true(fcinfo, 9);
    return request;
}

// ---- options of steadytext_generate_ex -----------------------------------------------------------------------------

[[noreturn]] void reject_option(const char *name, const char *why) {
    core::Problem problem;
    problem.set(core::sqlstate::kInvalidParameterValue, "invalid option \"%s\"", name);
    problem.with_detail("%s", why);
    problem.with_hint(
        "Options are max_tokens, seed, temperature, eos_string, model, size, use_cache, unsafe_mode and prefix.");
    pg::raise(problem);
}

double number_option(const char *name, const JsonbValue &value) {
    if (value.type != jbvNumeric)
        reject_option(name, "It must be a number.");
    return pg::jsonb_number(value);
}

std::int64_t integer_option(const char *name, const JsonbValue &value) {
    std::int64_t integer;
    if (!pg::to_integer(number_option(name, value), integer))
        reject_option(name, "It must be an integer.");
    return integer;
}

core::TextArgument text_option(const char *name, const JsonbValue &value) {
    if (value.type != jbvString)
        reject_option(name, "It must be a string.");
    const Datum text = PointerGetDatum(cstring_to_text_with_len(value.val.string.val, value.val.string.len));
    return {false, pg::utf8_text(text)};
}

bool boolean_option(const char *name, const JsonbValue &value) {
    if (value.type != jbvBool)
        reject_option(name, "It must be true or false.");
    return value.val.boolean;
}

// Puts a text before the prompt that other calls put before theirs.
void add_prefix(std::string_view prefix, GenerationRequest &request) {
    const std::string_view prompt = request.prompt.text;
    char *whole = static_cast<char *>(palloc(prefix.size() + prompt.size() + 1));
    prefix.copy(whole, prefix.size());
    prompt.copy(whole + prefix.size(), prompt.size());
    request.prompt.text = {whole, prefix.size() + prompt.size()};
    request.prefix_bytes = prefix.size();
    request.prompt_is_checked = true;
}

struct Option {
    const char *name;
    void (*apply)(const char *name, const JsonbValue &value, GenerationRequest &request);
};

constexpr Option kOptions[] = {
    {"max_tokens",
     [](const char *name, const JsonbValue &value, GenerationRequest &request) {
         request.has_max_tokens = true;
         request.max_tokens = integer_option(name, value);
     }},
    {"seed",
     [](const char *name, const JsonbValue &value, GenerationRequest &request) {
         request.has_seed = true;
         request.seed = integer_option(name, value);
     }},
    {"temperature", [](const char *name, const JsonbValue &value,
                       GenerationRequest &request) { request.temperature = number_option(name, value); }},
    {"eos_string", [](const char *name, const JsonbValue &value,
                      GenerationRequest &request) { request.eos_string = text_option(name, value); }},
    {"model", [](const char *name, const JsonbValue &value,
                 GenerationRequest &request) { request.model = text_option(name, value); }},
    {"size", [](const char *name, const JsonbValue &value,
                GenerationRequest &request) { request.size = text_option(name, value); }},
    {"use_cache", [](const char *name, const JsonbValue &value,
                     GenerationRequest &request) { request.use_cache = boolean_option(name, value); }},
    {"unsafe_mode", [](const char *name, const JsonbValue &value,
                       GenerationRequest &request) { request.unsafe_mode = boolean_option(name, value); }},
    {"prefix",
     [](const char *name, const JsonbValue &value, GenerationRequest &request) {
         const core::TextArgument prefix = text_option(name, value);
         session::require(core::rules::kPrompt, request.prompt);
         session::require(core::rules::kPrompt, prefix);
         add_prefix(prefix.text, request);
     }},
};

// A JSON null means "not given", as NULL does for an argument.
void apply_option(const char *name, const JsonbValue &value, GenerationRequest &request) {
    if (core::find_option(core::rules::kGenerateOptions, name) == nullptr)
        reject_option(name, "There is no such option.");
    for (const Option &option : kOptions) {
        if (strcmp(name, option.name) != 0)
            continue;
        if (value.type != jbvNull)
            option.apply(name, value, request);
    }
}

void read_options(Jsonb *options, GenerationRequest &request) {
    if (!JB_ROOT_IS_OBJECT(options)) {
        core::Problem problem;
        (void)core::refuse(core::rules::kOptions, "options", core::Fault::Malformed, 0, problem);
        pg::raise(problem);
    }
    pg::for_each_member(options, [&](std::string_view name, const JsonbValue &value) {
        apply_option(pnstrdup(name.data(), name.size()), value, request);
    });
}

// ---- the row of steadytext_generate_ex -----------------------------------------------------------------------------

// An unknown value is an empty text or a negative number.
pg::Column known(std::string_view text) { return pg::shown(text); }
pg::Column known(int number) { return {Int32GetDatum(number), number >= 0}; }
pg::Column known(double number) { return {Float8GetDatum(number), number >= 0}; }

}  // namespace

const session::ahead::Function steadytext::functions::kGenerateAhead = {
    "steadytext_generate",   "vdddvvvvvd", 0,    shmem::CallKind::Generate, foresee_prompt,
    begin_ahead<request_of>, text_of,      true,
};

STEADYTEXT_FUNCTION(steadytext_generate) {
    const Datum answer = functions::answer<request_of>(fcinfo, functions::kGenerateAhead);
    warn_of_unknown_size(pg::text_argument(fcinfo, 8));
    return answer;
}

// Value per call: the executor asks for a row, and waits for it, each time. The stream ends with
// multi_call_memory_ctx.
STEADYTEXT_FUNCTION(steadytext_generate_stream) {
    if (SRF_IS_FIRSTCALL()) {
        FuncCallContext *context = SRF_FIRSTCALL_INIT();
        MemoryContext caller = MemoryContextSwitchTo(context->multi_call_memory_ctx);
        const GenerationRequest request = request_of(fcinfo);
        context->user_fctx = session::open_stream(request);
        warn_of_unknown_size(request.size);
        MemoryContextSwitchTo(caller);
    }
    FuncCallContext *context = SRF_PERCALL_SETUP();
    session::StreamRow row;
    if (!session::next_row(*static_cast<session::GenerationStream *>(context->user_fctx), row))
        SRF_RETURN_DONE(context);
    if (row.is_null)
        SRF_RETURN_NEXT_NULL(context);
    SRF_RETURN_NEXT(context, pg::text_datum(row.text));
}

STEADYTEXT_FUNCTION(steadytext_generate_ex) {
    GenerationRequest request;
    request.prompt = pg::text_argument(fcinfo, 0);
    if (!PG_ARGISNULL(1))
        read_options(PG_GETARG_JSONB_P(1), request);
    request.wants_key = true;
    ReturnSetInfo *result = pg::materialize(fcinfo);

    Generation generation;
    session::generate(request, generation);
    warn_of_unknown_size(request.size);
    pg::put_row(result,
                {generation.is_null ? pg::null_column() : pg::text_datum(generation.text), known(generation.cache_key),
                 known(generation.model), known(generation.fingerprint), known(generation.daemon),
                 known(generation.prompt_tokens), known(generation.completion_tokens), known(generation.finish_reason),
                 BoolGetDatum(generation.cached), BoolGetDatum(generation.degraded), known(generation.queue_ms),
                 known(generation.engine_ms), known(generation.total_ms), known(generation.reasoning)});
    return static_cast<Datum>(0);
}
