// Rate limits seen and reset: steadytext_rate_limit_status, steadytext_rate_limit_reset. Regime: pg.
//
// Setting them is SQL (sql/limits.sql): they are rows of tables.
#include "src/pg/compat.hpp"
#include "shmem/segment.hpp"
#include "src/core/clock.hpp"
#include "src/pg/administrator.hpp"
#include "src/pg/result_row.hpp"
#include "src/pg/boundary.hpp"
#include "src/session/limit_rules.hpp"

extern "C" {
#include "utils/acl.h"
#include "utils/timestamp.h"
}

#include <algorithm>

namespace {

using namespace steadytext;
using session::Binds;
using session::LimitRule;
using shmem::RateLimiter;
using Unit = RateLimiter::Unit;

RateLimiter &limiter() { return *shmem::segment().limiter; }

// ---- steadytext_rate_limit_status ----------------------------------------------------------------------------------

// Whether the caller may see all limits.
bool sees_all;

// Every role may see its own limits. The usage of other roles, and of all roles together, is for administrators and for
// roles that may read statistics.
bool may_see(const LimitRule &rule, Oid role) {
    if (sees_all)
        return true;
    return (rule.binds == Binds::Members || rule.binds == Binds::Others) && OidIsValid(role) &&
           has_privs_of_role(GetUserId(), role);
}

const char *unit_name(Unit unit) {
    return unit == Unit::Requests ? "requests" : unit == Unit::Tokens ? "tokens" : "concurrency";
}

Datum interval_datum(std::int64_t microseconds) {
    auto *interval = static_cast<Interval *>(palloc0(sizeof(Interval)));
    interval->day = static_cast<int32>(microseconds / USECS_PER_DAY);
    interval->time = microseconds % USECS_PER_DAY;
    return IntervalPGetDatum(interval);
}

// `usage` is null if nothing has been used.
void put_row(ReturnSetInfo *result, const LimitRule &rule, const char *role, const RateLimiter::Usage *usage) {
    const std::int64_t used = usage == nullptr ? 0 : usage->used;
    const std::int64_t left = std::max<std::int64_t>(rule.most - used, 0);
    const bool never = rule.most == 0;
    const std::int64_t wait_us = usage == nullptr || never ? 0 : usage->wait_us;
    const bool by_time = rule.unit != Unit::Concurrency;
    // NULL: when a call ends is unknown, and a limit of 0 never admits a call.
    pg::put_row(result, {pg::words(role),
                         pg::words(rule.binds == Binds::Server ? "@server" : rule.role),
                         pg::words(rule.subject),
                         pg::words(rule.budget == session::Budget::No ? unit_name(rule.unit) : "budget"),
                         by_time ? interval_datum(rule.window_us) : pg::null_column(),
                         pg::number(rule.most),
                         pg::number(used),
                         pg::number(left),
                         {Int64GetDatum((wait_us + 999) / 1000), !never && (by_time || left != 0)},
                         pg::number(usage == nullptr ? std::int64_t{0} : static_cast<std::int64_t>(usage->refused))});
}

// The usage of a meter under a rule. False if the meter now belongs to another key.
bool read_meter(const LimitRule &rule, RateLimiter::MeterId meter, std::int64_t now_us, RateLimiter::Usage &usage) {
    return limiter().peek({meter, rule.unit, rule.most, rule.window_us}, now_us, usage);
}

// A row of "*" counts each role by itself: a line for each role that has used something.
void put_roles_counted(ReturnSetInfo *result, const LimitRule &rule, std::int64_t now_us) {
    for (std::uint32_t i = 0; i < limiter().size(); i++) {
        RateLimiter::Key key;
        RateLimiter::MeterId meter;
        if (!limiter().describe(i, key, meter))
            return;
        RateLimiter::Usage usage;
        const char *role = key == rule.key(key.role) ? GetUserNameFromId(key.role, true) : nullptr;
        if (role != nullptr && may_see(rule, key.role) && read_meter(rule, meter, now_us, usage))
            put_row(result, rule, role, &usage);
    }
}

// Looks for the meter without taking a meter: a look uses nothing.
bool find_meter(const RateLimiter::Key &wanted, RateLimiter::MeterId &meter) {
    RateLimiter::Key key;
    for (std::uint32_t i = 0; limiter().describe(i, key, meter); i++)
        if (key == wanted)
            return true;
    return false;
}

void put_rule(ReturnSetInfo *result, const LimitRule &rule, std::int64_t now_us) {
    const Oid role = rule.binds == Binds::Members ? get_role_oid(rule.role, true) : InvalidOid;
    if (rule.binds == Binds::Others) {
        put_roles_counted(result, rule, now_us);
        return;
    }
    if (!may_see(rule, role))
        return;
    RateLimiter::MeterId meter;
    RateLimiter::Usage usage;
    const bool used = find_meter(rule.key(role), meter) && read_meter(rule, meter, now_us, usage);
    put_row(result, rule, rule.binds == Binds::Server ? "@server" : rule.role, used ? &usage : nullptr);
}

// ---- steadytext_rate_limit_reset -----------------------------------------------------------------------------------

// Budgets are not forgotten: steadytext_usage would bring them back.
bool is_of(const RateLimiter::Key &key, const char *role, Oid oid) {
    if (key.database != MyDatabaseId || session::is_budget(key))
        return false;
    return strcmp(role, "*") == 0 || key.role == oid;
}

}  // namespace

STEADYTEXT_FUNCTION(steadytext_rate_limit_status) {
    const std::int64_t now_us = core::monotonic_us();
    (void)shmem::segment();
    ReturnSetInfo *result = pg::materialize(fcinfo);
    sees_all = pg::sees_others_calls();
    // A copy: role names are looked up on the way, which may make the rules stale.
    const session::LimitRules rules = session::limit_rules();
    auto *copy = static_cast<LimitRule *>(palloc(std::max<std::size_t>(rules.count, 1) * sizeof(LimitRule)));
    std::copy(rules.begin(), rules.end(), copy);
    for (std::uint32_t i = 0; i < rules.count; i++)
        put_rule(result, copy[i], now_us);
    return static_cast<Datum>(0);
}

STEADYTEXT_FUNCTION(steadytext_rate_limit_reset) {
    const char *role = NameStr(*PG_GETARG_NAME(0));
    const bool is_word = strcmp(role, "*") == 0 || strcmp(role, "@database") == 0;
    const Oid oid = is_word ? InvalidOid : get_role_oid(role, false);
    int32 count = 0;
    for (std::uint32_t i = 0; i < limiter().size(); i++) {
        RateLimiter::Key key;
        RateLimiter::MeterId meter;
        if (!limiter().describe(i, key, meter))
            break;
        if (!is_of(key, role, oid))
            continue;
        limiter().reset(meter);
        count++;
    }
    PG_RETURN_INT32(count);
}
