// The words: see limit_refusals.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/session/limit_refusals.hpp"
#include "shmem/segment.hpp"
#include "src/guc.hpp"
#include "src/session/budgets.hpp"

extern "C" {
#include "commands/dbcommands.h"
#include "miscadmin.h"
}

namespace steadytext::session {

using Unit = RateLimiter::Unit;

const char *whose(const LimitRule &rule, Oid role) {
    switch (rule.binds) {
    case Binds::Members:
        return psprintf("role \"%s\"", rule.role);
    case Binds::Others:
        return psprintf("role \"%s\" (by the row of \"*\")", GetUserNameFromId(role, true));
    case Binds::Database:
        return psprintf("database \"%s\"", get_database_name(MyDatabaseId));
    case Binds::Server:
        break;
    }
    return "the server";
}

static const char *what(const LimitRule &rule) {
    if (strcmp(rule.subject, "*") == 0)
        return "all operations";
    if (const std::string_view daemon = daemon_of(rule); !daemon.empty())
        return psprintf("daemon \"%.*s\"", static_cast<int>(daemon.size()), daemon.data());
    return strncmp(rule.subject, "model:", 6) == 0 ? psprintf("model \"%s\"", rule.subject + 6)
                                                   : psprintf("operation \"%s\"", rule.subject);
}

// "3.5 days", for a person who has to wait.
static const char *in_words(std::int64_t us) {
    constexpr std::int64_t kMinute = 60'000'000, kHour = 60 * kMinute, kDay = 24 * kHour;
    if (us >= 2 * kDay)
        return psprintf("%.1f days", static_cast<double>(us) / kDay);
    if (us >= 2 * kHour)
        return psprintf("%.1f hours", static_cast<double>(us) / kHour);
    return us >= 2 * kMinute ? psprintf("%.1f minutes", static_cast<double>(us) / kMinute)
                             : psprintf("%.1f seconds", static_cast<double>(us) / 1e6);
}

void describe_budget(const RateLimiter::Outcome &outcome, const LimitRule &rule, Oid role, const Spending &spending,
                     core::Problem &problem) {
    const auto most = static_cast<long long>(rule.most), left = static_cast<long long>(outcome.left);
    problem.set(core::sqlstate::kConfigurationLimitExceeded, "token budget exceeded: %lld tokens per %s", most,
                period_text(rule));
    const char *when = outcome.wait_us == RateLimiter::kNever
                           ? ", which is more than it ever has"
                           : psprintf("; that much is free again in %s", in_words(outcome.wait_us));
    problem.with_detail("The budget of %s has %lld of %lld tokens left; the call may need %lld%s.", whose(rule, role),
                        left, most, static_cast<long long>(spending.tokens), when);
    const bool fits_with_less = spending.answer_tokens > 0 && spending.tokens - spending.answer_tokens < left &&
                                spending.kind != shmem::CallKind::Choice;
    problem.with_hint("%ssteadytext_rate_limit_status shows a role its own budgets, and an administrator all.",
                      fits_with_less ? "A call with a smaller max_tokens needs fewer; " : "");
}

void describe(const RateLimiter::Outcome &outcome, const LimitRule &rule, Oid role, const RateLimiter::Demand &demand,
              core::Problem &problem) {
    const auto most = static_cast<long long>(rule.most), left = static_cast<long long>(outcome.left);
    const char *limit = psprintf("The limit of %s for %s", whose(rule, role), what(rule));
    const char *units = rule.unit == Unit::Requests ? "requests" : "tokens";
    if (rule.unit == Unit::Concurrency) {
        problem.set(core::sqlstate::kConfigurationLimitExceeded, "Rate limit exceeded: %lld requests at once", most);
        problem.with_detail("%s has %lld of %lld requests left; retry after one of those under way.", limit, left,
                            most);
    } else {
        problem.set(core::sqlstate::kConfigurationLimitExceeded, "Rate limit exceeded: %lld %s per %gs", most, units,
                    static_cast<double>(rule.window_us) / 1e6);
        if (outcome.wait_us == RateLimiter::kNever)
            problem.with_detail("%s has %lld of %lld %s left; the call needs %lld, which is more than it ever has.",
                                limit, left, most, units, static_cast<long long>(demand.of(rule.unit)));
        else
            problem.with_detail("%s has %lld of %lld %s left; retry after %lld ms.", limit, left, most, units,
                                static_cast<long long>((outcome.wait_us + 999) / 1000));
    }
    if (most == 0) {
        problem.with_detail("%s is 0, which forbids every call.", limit);
        problem.with_hint("steadytext_rate_limit_remove() takes a limit away; NULL is no limit.");
        return;
    }
    if (outcome.wait_us != RateLimiter::kNever && static_cast<guc::OnLimit>(guc::on_limit) == guc::OnLimit::Wait)
        problem.with_hint("It would have to wait longer than steadytext.request_timeout allows.");
    else if (outcome.wait_us != RateLimiter::kNever)
        problem.with_hint("With steadytext.on_limit = wait the call waits, up to steadytext.request_timeout.");
}

void describe_missing_meter(core::Problem &problem) {
    problem.set(core::sqlstate::kConfigurationLimitExceeded,
                "Rate limit exceeded: no room to count another role's calls");
    problem.with_detail("All %u meters are in use.", shmem::segment().limiter->size())
        .with_hint("Raise steadytext.max_rate_meters.");
}

void describe_missing_lease(core::Problem &problem) {
    problem.set(core::sqlstate::kConfigurationLimitExceeded,
                "Rate limit exceeded: too many calls of this session at once");
}

}  // namespace steadytext::session
