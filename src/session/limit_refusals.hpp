// Refusals of rate limits and budgets in words: whose limit it is, what is left, and what to do.
//
// Called by limits.cpp. Regime: pg.
#pragma once

#include "src/session/limit_rules.hpp"
#include "src/session/limits.hpp"

namespace steadytext::session {

// "role "app"", "the server", ...
[[nodiscard]] const char *whose(const LimitRule &rule, Oid role);

void describe(const shmem::RateLimiter::Outcome &outcome, const LimitRule &rule, Oid role,
              const shmem::RateLimiter::Demand &demand, core::Problem &problem);
void describe_budget(const shmem::RateLimiter::Outcome &outcome, const LimitRule &rule, Oid role,
                     const Spending &spending, core::Problem &problem);
void describe_missing_meter(core::Problem &problem);
void describe_missing_lease(core::Problem &problem);

}  // namespace steadytext::session
