// Checks arguments against the validator table.
//
// Called by src/functions and src/session before anything is done with an argument. Regime: pg.
#pragma once

#include "src/core/parameters.hpp"
#include "src/pg/postgres.hpp"

#include <string_view>

namespace steadytext::session {

namespace rules = core::rules;

// Raises unless the value meets the rule.
void require(const core::Rule &rule, const core::Value &value);
void require(const core::Rule &rule, const char *name, const core::Value &value);

// Whether it does.
[[nodiscard]] bool meets(const core::Rule &rule, const core::Value &value);

// The same for all arguments from the `first` on, which are the arguments of `function` in the
// table.
void require_arguments(const char *function, FunctionCallInfo fcinfo, int first = 0);

// NULL counts as false.
[[nodiscard]] inline bool argument_is_true(FunctionCallInfo fcinfo, int number) {
    return !PG_ARGISNULL(number) && PG_GETARG_BOOL(number);
}

// The text in NFC, if steadytext.normalize_prompts is on; a changed text is in CurrentMemoryContext. `what` names the
// text in the message of an error.
[[nodiscard]] std::string_view normalized(std::string_view text, const char *what);

}  // namespace steadytext::session
