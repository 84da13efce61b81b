// Budgets: limits of tokens over days, which last over restarts. Called by src/session/limits.cpp. Regime: pg.
//
// The limiter counts and refuses, as for every limit (limits.hpp). What a budget has beyond that is here: its meter begins with
// what steadytext_usage says was used in its period, and sessions are warned when little is left.
#pragma once

#include "src/session/limit_rules.hpp"

namespace steadytext::session {

// Gives the budget's meter its history, unless it has one.
void remember_usage(const LimitRule &rule, Oid of_role, RateLimiter::MeterId meter, std::int64_t now_us);

// After a call was admitted: a WARNING, once per statement, if most of the budget is used. `whose` names it.
void warn_of_budget(const LimitRule &rule, RateLimiter::MeterId meter, const char *whose, std::int64_t now_us);

// "30 days", as budgets' messages say it.
[[nodiscard]] const char *period_text(const LimitRule &rule);

}  // namespace steadytext::session
