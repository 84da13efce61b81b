// What a call does when no daemon could answer it: steadytext.on_failure.
//
// Called by src/functions. Regime: pg.
#pragma once

#include "src/core/problem.hpp"

namespace steadytext::session {

enum class Degraded { Null, Fallback };

// Raises the problem (on_failure = auto: in a statement that stores its rows, src/session/statement.hpp), or warns of it (once per statement and cause, not per row) and says what to return instead.
[[nodiscard]] Degraded degrade(const core::Problem &problem);

// Warns of the problem, once per statement and cause.
void warn_once(const core::Problem &problem);

}  // namespace steadytext::session
