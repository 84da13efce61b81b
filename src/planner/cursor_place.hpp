// Whether a cursor has to stand at the row that it gave last, so that its plan cannot read ahead.
//
// Called by read_ahead_plan.cpp with the plan as PostgreSQL made it. Regime: pg.
#pragma once

#include "src/pg/postgres.hpp"

extern "C" {
#include "nodes/plannodes.h"
}

namespace steadytext::planner {

[[nodiscard]] bool needs_its_place(int cursor_options, const PlannedStmt &statement);

}  // namespace steadytext::planner
