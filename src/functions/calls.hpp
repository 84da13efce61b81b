// The SQL functions that steadytext_try_* (tries.cpp) carry out, as C declares them. Regime: pg.
#pragma once

#include "src/pg/postgres.hpp"

extern "C" {
Datum steadytext_generate(PG_FUNCTION_ARGS);
Datum steadytext_embed(PG_FUNCTION_ARGS);
Datum steadytext_if(PG_FUNCTION_ARGS);
Datum steadytext_classify(PG_FUNCTION_ARGS);
}

namespace steadytext::functions {

// A row for the arguments of steadytext_extract().
Datum extract(FunctionCallInfo fcinfo);

}  // namespace steadytext::functions
