// Budgets: limits of tokens over days, which last over restarts. Called by src/session/limits.cpp. Regime: pg.
//
// The limiter counts and refuses, as for every limit (limits.hpp). This file adds two things: the meter of a budget
// begins with the use that steadytext_usage has for its period, and sessions are warned when little is left.
#pragma once

#include "src/session/limit_rules.hpp"

namespace steadytext::session {

// Gives the budget's meter its history, unless the meter has a history.
void remember_usage(const LimitRule &rule, Oid of_role, RateLimiter::MeterId meter, std::int64_t now_us);

// Called after a call was admitted. A WARNING, once per statement, if most of the budget is used. `whose` names the
// budget.
void warn_of_budget(const LimitRule &rule, RateLimiter::MeterId meter, const char *whose, std::int64_t now_us);

// The use from which a budget warns.
[[nodiscard]] std::int64_t warned_from(const LimitRule &rule);

// "30 days", as budgets' messages say it.
[[nodiscard]] const char *period_text(const LimitRule &rule);

}  // namespace steadytext::session
