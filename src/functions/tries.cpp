// steadytext_try_generate, _embed, _if, _classify and _extract: a call whose failure is a row, not an ERROR. Regime: pg.
//
// The call runs in a subtransaction, as a block with EXCEPTION does in PL/pgSQL, and within it steadytext.on_failure is
// error: a fallback would hide the failure. A cancelled statement stays cancelled.
#include "src/pg/compat.hpp"
#include "src/functions/calls.hpp"
#include "src/pg/boundary.hpp"
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
    Datum values[3] = {};
    bool nulls[3] = {false, true, true};
    Datum *value = values;
    ErrorData *error = pg::caught(true, [&] { *value = call_strictly(call, fcinfo); });
    if (error != nullptr && is_of_the_statement(*error))
        ReThrowError(error);
    nulls[0] = error != nullptr || fcinfo->isnull;
    if (error != nullptr) {
        nulls[1] = nulls[2] = false;
        values[1] = words_of(*error);
        values[2] = CStringGetTextDatum(unpack_sql_state(error->sqlerrcode));
    }
    tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
    fcinfo->isnull = false;
    return 0;
}

}  // namespace

STEADYTEXT_FUNCTION(steadytext_try_generate) { return tried(fcinfo, steadytext_generate); }
STEADYTEXT_FUNCTION(steadytext_try_embed) { return tried(fcinfo, steadytext_embed); }
STEADYTEXT_FUNCTION(steadytext_try_if) { return tried(fcinfo, steadytext_if); }
STEADYTEXT_FUNCTION(steadytext_try_classify) { return tried(fcinfo, steadytext_classify); }
STEADYTEXT_FUNCTION(steadytext_try_extract) { return tried(fcinfo, functions::extract); }
