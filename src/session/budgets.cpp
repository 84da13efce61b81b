// History from the table, warnings in words: see budgets.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/session/budgets.hpp"
#include "shmem/segment.hpp"
#include "src/core/clock.hpp"
#include "src/guc.hpp"
#include "src/pg/own_table.hpp"
#include "src/pg/table_rows.hpp"
#include "src/session/on_failure.hpp"

extern "C" {
#include "utils/acl.h"
#include "utils/date.h"
#include "utils/fmgroids.h"
#include "utils/timestamp.h"
}

#include <algorithm>

namespace steadytext::session {

namespace {

constexpr std::int64_t kWarnPercent = 80;
constexpr std::int32_t kLongestDays = 367;
constexpr std::int32_t kDaysTo2000 = POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE;

// Tokens by day; the tokens of `today` come first.
struct Days {
    const LimitRule *rule;
    Oid of_role;
    std::int32_t today;
    std::int64_t tokens[kLongestDays];

    void add(std::int32_t day, Oid role, std::int64_t used) {
        const std::int32_t age = std::max(today - day, 0);
        if (age < kLongestDays && counts_for(*rule, of_role, role))
            tokens[age] += used;
    }
};

std::int64_t number(TupleTableSlot *row, int column) {
    bool is_null;
    const Datum value = slot_getattr(row, column, &is_null);
    return is_null ? 0 : DatumGetInt64(value);
}

// steadytext_usage: day, role_name, database_name, model, prompt_tokens, completion_tokens, ...
void take_usage_row(TupleTableSlot *row, void *context) {
    bool is_null;
    const std::int32_t day = DatumGetDateADT(slot_getattr(row, 1, &is_null)) + kDaysTo2000;
    const char *role = NameStr(*DatumGetName(slot_getattr(row, 2, &is_null)));
    static_cast<Days *>(context)->add(day, get_role_oid(role, true), number(row, 5) + number(row, 6));
}

// The days that the period touches; the table may have years.
void read_usage(Days &days, std::int32_t first_day) {
    const Oid usage = pg::own_table("steadytext_usage");
    pg::lock_tables({&usage, 1}, guc::request_timeout_ms);
    const Oid index = pg::primary_key(usage);
    pg::lock_tables({&index, 1}, guc::request_timeout_ms);
    pg::for_each_row_from(usage, index, {1, F_DATE_GE, DateADTGetDatum(first_day - kDaysTo2000)}, take_usage_row,
                          &days);
    pg::unlock_tables({&index, 1});
    pg::unlock_tables({&usage, 1});
}

// Use that no keeper has written yet.
void take_unwritten(Days &days) {
    auto *entries = static_cast<shmem::Usage::Entry *>(palloc(sizeof(shmem::Usage::Entry) * shmem::Usage::kEntries));
    const std::uint32_t count = shmem::segment().usage->copy(entries);
    for (std::uint32_t i = 0; i < count; i++)
        if (entries[i].key.database == MyDatabaseId)
            days.add(entries[i].key.day, entries[i].key.role,
                     static_cast<std::int64_t>(entries[i].counts.prompt_tokens + entries[i].counts.completion_tokens));
    pfree(entries);
}

}  // namespace

void remember_usage(const LimitRule &rule, Oid of_role, RateLimiter::MeterId meter, std::int64_t now_us) {
    RateLimiter &limiter = *shmem::segment().limiter;
    if (limiter.has_history(meter))
        return;
    const std::int64_t unix_us = core::unix_us();
    auto *days = static_cast<Days *>(palloc0(sizeof(Days)));
    days->rule = &rule;
    days->of_role = of_role;
    days->today = static_cast<std::int32_t>(unix_us / USECS_PER_DAY);
    read_usage(*days, days->today - static_cast<std::int32_t>(rule.window_us / USECS_PER_DAY) - 1);
    take_unwritten(*days);

    // A day's tokens count as used at the end of the day: later than they were used, never earlier.
    auto *history = static_cast<RateLimiter::Past *>(palloc(sizeof(RateLimiter::Past) * kLongestDays));
    std::size_t count = 0;
    for (std::int32_t age = kLongestDays - 1; age >= 0; age--) {
        const std::int64_t end_us = std::min((days->today - age + 1) * std::int64_t{USECS_PER_DAY}, unix_us);
        const std::int64_t ago_us = unix_us - end_us;
        if (days->tokens[age] > 0 && ago_us < rule.window_us)
            history[count++] = {days->tokens[age], now_us - ago_us};
    }
    limiter.add_history(meter, {history, count}, rule.window_us, now_us);
    pfree(history);
    pfree(days);
}

void warn_of_budget(const LimitRule &rule, RateLimiter::MeterId meter, const char *whose, std::int64_t now_us) {
    RateLimiter::Usage usage;
    if (!shmem::segment().limiter->peek({meter, rule.unit, rule.most, rule.window_us}, now_us, usage) ||
        usage.used < warned_from(rule))
        return;
    core::Problem problem;
    problem.set(core::sqlstate::kWarning,
                usage.used > rule.most ? "token budget exceeded" : "token budget nearly used up");
    problem
        .with_detail("The budget of %s has used %lld of %lld tokens per %s.", whose, static_cast<long long>(usage.used),
                     static_cast<long long>(rule.most), period_text(rule))
        .with_hint("steadytext_rate_limit_status shows a role its own budgets, and an administrator all.");
    warn_once(problem);
}

std::int64_t warned_from(const LimitRule &rule) {
    return rule.most / 100 * kWarnPercent + rule.most % 100 * kWarnPercent / 100;
}

const char *period_text(const LimitRule &rule) {
    const std::int64_t days = rule.window_us / USECS_PER_DAY;
    return rule.window_us % USECS_PER_DAY != 0
               ? psprintf("%.1f days", static_cast<double>(rule.window_us) / USECS_PER_DAY)
           : days == 1 ? "day"
                       : psprintf("%d days", static_cast<int>(days));
}

}  // namespace steadytext::session
