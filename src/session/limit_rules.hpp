// Which rate limits bind a call: the rows of steadytext_rate_limits, steadytext_rate_limit_rules and steadytext_budgets, and the
// server's settings.
//
// Called by src/session/limits.cpp and src/functions/rate_limits.cpp. Regime: pg. Rows are kept in this process until their
// table's relation cache entry is invalidated, which a trigger does at every change; so a change is effective in every session with
// its next call after the commit, on standbys once it has been replayed.
//
//   role        binds                                        counts
//   a name      its members, also those who act as another   all of them together
//   *           each role that connected, whoever it acts    each of them by itself
//               as, for calls no row of its roles speaks of
//   @database   every call in this database                  all together
//   (settings)  every call of the server                     all together
//
// What a row speaks of is its `operation`: '*'; a kind of call as metrics name it, 'generate' being all that generates text;
// 'model:NAME'; or 'daemon:ENDPOINT', which binds a call when it goes to that daemon: then the gateway asks.
#pragma once

#include "src/pg/postgres.hpp"
#include "shmem/call_stats.hpp"
#include "shmem/rate_limiter.hpp"

#include <string_view>

namespace steadytext::session {

using shmem::RateLimiter;

enum class Binds : std::uint8_t { Members, Others, Database, Server };

// A budget is a limit of tokens that lasts over restarts: its history is in steadytext_usage (src/session/budgets.*).
enum class Budget : std::uint8_t { No, Warn, Enforce };

struct LimitRule {
    Binds binds;
    std::uint8_t column;  // which limit of its row
    Budget budget;
    RateLimiter::Unit unit;
    std::int64_t most;
    std::int64_t window_us;  // 0 for Concurrency
    char role[NAMEDATALEN];  // as the row says
    char subject[RateLimiter::kSubjectBytes];

    // What counts the calls of this role for it; the role matters to Members and Others.
    [[nodiscard]] RateLimiter::Key key(Oid of_role) const;
    // What the limiter is to refuse beyond: a budget that only warns refuses nothing.
    [[nodiscard]] std::int64_t enforced_most() const { return budget == Budget::Warn ? INT64_MAX : most; }
};

struct LimitRules {
    const LimitRule *first;
    std::uint32_t count;
    [[nodiscard]] const LimitRule *begin() const { return first; }
    [[nodiscard]] const LimitRule *end() const { return first + count; }
};

// All rules in force now; valid until the next call.
[[nodiscard]] LimitRules limit_rules();

// Changes whenever rules, roles, memberships or settings do: what was worked out of them is stale then.
[[nodiscard]] std::uint64_t limit_rules_generation();

// Whether `role` belongs to the roles whose calls the rule counts together with those of `of_role`.
[[nodiscard]] bool counts_for(const LimitRule &rule, Oid of_role, Oid role);

// A budget's column of its meter's key, by which it is told from limits.
[[nodiscard]] bool is_budget(const RateLimiter::Key &key);

// The rule that a meter was taken for and a limit was made of, for who has these two only.
[[nodiscard]] LimitRule rule_behind(const RateLimiter::Key &key, const RateLimiter::Limit &limit);

// The daemon that a rule speaks of, by the name it is given in its row; empty if it does not.
[[nodiscard]] std::string_view daemon_of(const LimitRule &rule);

// The rules that bind a call, with the role each of them counts.
struct BindingRules {
    std::uint32_t count = 0;
    const LimitRule *rules[RateLimiter::kMaxLimits];
    Oid roles[RateLimiter::kMaxLimits];
};

// `user` is whose call it is, `session_user` who connected. An ERROR if more bind it than kMaxLimits.
void find_binding_rules(Oid user, Oid session_user, shmem::CallKind kind, std::string_view model, BindingRules &binding);
// Those that bind it at the daemon they speak of.
void find_daemon_rules(Oid user, Oid session_user, BindingRules &binding);

}  // namespace steadytext::session
