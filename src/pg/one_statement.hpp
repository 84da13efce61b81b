// A text as a single statement, as if a client had sent it: parsed, analysed, rewritten, but neither planned nor run.
//
// Called by src/planner/explain_calls.cpp. Regime: pg, within a transaction and with a snapshot.
#pragma once

#include "src/pg/postgres.hpp"

extern "C" {
#include "nodes/execnodes.h"
#include "nodes/parsenodes.h"
}

namespace steadytext::pg {

// Raises what the statement itself would raise; 42601 if the text is not a single SELECT, INSERT, UPDATE, DELETE or MERGE
// without parameters, after rules as well.
[[nodiscard]] Query *one_statement(const char *text);

}  // namespace steadytext::pg
