// More about a statement that EXPLAIN has just told of, in a format of members: JSON, XML or YAML.
//
// Called by hooks after PostgreSQL's own explanation: src/session/explain.cpp and src/planner/row_by_row.cpp. Regime: pg.
#pragma once

#include "src/pg/postgres.hpp"

extern "C" {
#include "commands/explain.h"
}

namespace steadytext::pg {

// Opens the statement's group again, as if it had not been closed; false, and nothing is changed, if it does not end as
// expected.
[[nodiscard]] bool reopen_explained(ExplainState *state);
void close_explained(ExplainState *state);

}  // namespace steadytext::pg
