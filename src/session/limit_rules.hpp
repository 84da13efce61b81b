// The rate limits that bind a call: the rows of steadytext_rate_limits, steadytext_rate_limit_rules and
// steadytext_budgets, and the server's settings.
//
// Called by src/session/limits.cpp, src/session/budgets.cpp and src/functions/rate_limits.cpp. Regime: pg. This process
// keeps the rows until their table's relation cache entry is invalidated, which a trigger does at every change. So a
// change takes effect in every session with its next call after the commit, and on standbys once it has been replayed.
//
//   role        binds                                        counts
//   a name      its members, also when they act as another   all of them together
//   *           each role that connected, whatever role it   each role by itself
//               acts as, for calls that no row of its roles
//               covers
//   @database   every call in this database                  all together
//   (settings)  every call of the server                     all together
//
// `operation` says which calls a row covers: '*'; a kind of call as metrics name it, where 'generate' is every call
// that generates text; 'model:NAME'; or 'daemon:ENDPOINT', which binds a call when it goes to that daemon: then the
// gateway asks.
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

    // The key of the meter that counts this role's calls for the rule; the role matters to Members and Others.
    [[nodiscard]] RateLimiter::Key key(Oid of_role) const;
    // The limit beyond which the limiter refuses: a budget that only warns refuses nothing.
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

// Changes whenever rules, roles, memberships or settings change: results that were worked out from them are stale then.
[[nodiscard]] std::uint64_t limit_rules_generation();

// Whether the rule counts calls of `role` together with calls of `of_role`.
[[nodiscard]] bool counts_for(const LimitRule &rule, Oid of_role, Oid role);

// A budget's column of its meter's key, by which it is told from limits.
[[nodiscard]] bool is_budget(const RateLimiter::Key &key);

// The rule behind a meter and a limit, for a caller that has only these two.
[[nodiscard]] LimitRule rule_behind(const RateLimiter::Key &key, const RateLimiter::Limit &limit);

// The daemon that a rule covers, by its name in the rule's row; empty if it covers no daemon.
[[nodiscard]] std::string_view daemon_of(const LimitRule &rule);

// The rules that bind a call, with the role that each rule counts.
struct BindingRules {
    std::uint32_t count = 0;
    const LimitRule *rules[RateLimiter::kMaxLimits];
    Oid roles[RateLimiter::kMaxLimits];
};

// `user` makes the call, `session_user` has connected. An ERROR if more than kMaxLimits rules bind the call.
void find_binding_rules(Oid user, Oid session_user, shmem::CallKind kind, std::string_view model,
                        BindingRules &binding);
// The rules that bind the call at the daemon that they cover.
void find_daemon_rules(Oid user, Oid session_user, BindingRules &binding);

}  // namespace steadytext::session
