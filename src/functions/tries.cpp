// steadytext_try_generate, _embed, _if, _classify and _extract: a call whose failure is a row, not an ERROR. Regime: pg.
//
// The call runs in a subtransaction, as a block with EXCEPTION does in PL/pgSQL, and within it steadytext.on_failure is
// error: a fallback would hide the failure. A cancelled statement stays cancelled.
#include "src/pg/compat.hpp"
#include "src/functions/calls.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/result_row.hpp"
#include "src/pg/caught.hpp"

extern "C" {
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/guc.h"
}

namespace {

using namespace steadytext;

using Call = Datum (*)(FunctionCallInfo);

void pin(const char *setting, const char *value) {
    (void)set_config_option(setting, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

Datum call_strictly(Call call, FunctionCallInfo fcinfo) {
    const int settings = NewGUCNestLevel();
    pin("steadytext.on_failure", "error");
    if (strcmp(GetConfigOption("steadytext.on_limit", false, false), "null") == 0)
        pin("steadytext.on_limit", "error");
    const Datum value = call(fcinfo);
    AtEOXact_GUC(false, settings);
    return value;
}

[[nodiscard]] bool is_of_the_statement(const ErrorData &error) {
    return error.sqlerrcode == ERRCODE_QUERY_CANCELED || error.sqlerrcode == ERRCODE_ASSERT_FAILURE;
}

// MESSAGE: DETAIL (HINT)
Datum words_of(const ErrorData &error) {
    StringInfoData words;
    initStringInfo(&words);
    appendStringInfoString(&words, error.message);
    if (error.detail != nullptr)
        appendStringInfo(&words, ": %s", error.detail);
    if (error.hint != nullptr)
        appendStringInfo(&words, " (%s)", error.hint);
    return CStringGetTextDatum(words.data);
}

// The only row: value, error, sqlstate.
Datum tried(FunctionCallInfo fcinfo, Call call) {
    ReturnSetInfo *result = pg::materialize(fcinfo);
    Datum value = 0;
    Datum *made = &value;
    ErrorData *error = pg::caught(true, [&] { *made = call_strictly(call, fcinfo); });
    if (error != nullptr && is_of_the_statement(*error))
        ReThrowError(error);
    if (error == nullptr)
        pg::put_row(result, {{value, !fcinfo->isnull}, pg::null_column(), pg::null_column()});
    else
        pg::put_row(result, {pg::null_column(), words_of(*error), pg::words(unpack_sql_state(error->sqlerrcode))});
    fcinfo->isnull = false;
    return 0;
}

}  // namespace

STEADYTEXT_FUNCTION(steadytext_try_generate) { return tried(fcinfo, steadytext_generate); }
STEADYTEXT_FUNCTION(steadytext_try_embed) { return tried(fcinfo, steadytext_embed); }
STEADYTEXT_FUNCTION(steadytext_try_if) { return tried(fcinfo, steadytext_if); }
STEADYTEXT_FUNCTION(steadytext_try_classify) { return tried(fcinfo, steadytext_classify); }
STEADYTEXT_FUNCTION(steadytext_try_extract) { return tried(fcinfo, functions::extract); }
