// Handles a call that no daemon could answer, as steadytext.on_failure says.
//
// Called by src/session and src/functions/structured.cpp. Regime: pg.
#pragma once

#include "src/core/problem.hpp"

namespace steadytext::session {

enum class Degraded { Null, Fallback };

// Raises the problem if on_failure is error, or is auto in a statement that stores its rows
// (src/session/statement.hpp). Else warns of it (once per statement and cause, not per row) and says which value to
// return instead.
[[nodiscard]] Degraded apply_on_failure(const core::Problem &problem);

// Warns of the problem, once per statement and cause.
void warn_once(const core::Problem &problem);
// Whether the statement has warned of such a cause.
[[nodiscard]] bool has_warned(const char *sqlstate);

}  // namespace steadytext::session
