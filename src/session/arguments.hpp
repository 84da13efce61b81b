// Arguments held against the validator table.
//
// Called by src/functions and src/session before anything is done with an argument. Regime: pg.
#pragma once

#include "src/core/parameters.hpp"

namespace steadytext::session {

namespace rules = core::rules;

// Raises unless the value is what the rule says.
void require(const core::Rule &rule, const core::Value &value);
void require(const core::Rule &rule, const char *name, const core::Value &value);

}  // namespace steadytext::session
