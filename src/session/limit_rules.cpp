// Reads the rules, and finds the roles that they bind: see limit_rules.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/session/limit_rules.hpp"
#include "src/guc.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/own_table.hpp"
#include "src/pg/table_rows.hpp"
#include "src/pg/text.hpp"
#include "src/session/kept.hpp"

extern "C" {
#include "commands/trigger.h"
#include "utils/acl.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
}

#include <algorithm>

namespace steadytext::session {

using shmem::CallKind;
using Unit = RateLimiter::Unit;

namespace {

constexpr std::int64_t kMinuteUs = 60'000'000;
constexpr std::string_view kAll = "*";
constexpr std::string_view kDatabase = "@database";
constexpr std::string_view kModelPrefix = "model:";
constexpr std::string_view kDaemonPrefix = "daemon:";

// Limits of a row, numbered: with the subject and the role they make a meter's key.
// Budgets of different periods have meters of their own: the period, in days, is part of their number.
enum Column : std::uint8_t { Requests, Tokens, Concurrency, PerMinute, PerHour, PerDay, BudgetTokens };
constexpr std::uint32_t kColumnBits = 8;

// The settings that are rules, as they were when the rules were made up.
struct ServerSettings {
    int requests, tokens, concurrency;
    bool superusers;
    bool operator==(const ServerSettings &) const = default;
};

struct Loaded {
    Kept copy;  // of the tables' rows
    std::uint64_t generation = 1;
    ServerSettings server{};
    Oid tables[3] = {InvalidOid, InvalidOid, InvalidOid};
    LimitRule *rules = nullptr;  // in `memory`
    std::uint32_t count = 0;
    std::uint32_t room = 0;
};
Loaded loaded;
MemoryContext memory = nullptr;

// ---- hearing of changes --------------------------------------------------------------------------------------------

void forget_table(Datum, Oid relation) {
    for (const Oid table : loaded.tables)
        if (relation == InvalidOid || relation == table || table == InvalidOid)
            loaded.copy.forget();
}

void forget_roles(Datum, int, uint32) { loaded.generation++; }

void watch_changes() {
    memory = AllocSetContextCreate(TopMemoryContext, "steadytext rate limits", ALLOCSET_SMALL_SIZES);
    CacheRegisterRelcacheCallback(forget_table, static_cast<Datum>(0));
    CacheRegisterSyscacheCallback(AUTHOID, forget_roles, static_cast<Datum>(0));
    CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, forget_roles, static_cast<Datum>(0));
}

// ---- from rows to rules --------------------------------------------------------------------------------------------

void add_rule(const LimitRule &rule) {
    if (loaded.count == loaded.room) {
        const std::uint32_t room = std::max(16U, loaded.room * 2);
        auto *rules = static_cast<LimitRule *>(MemoryContextAlloc(memory, room * sizeof(LimitRule)));
        if (loaded.count > 0)
            memcpy(rules, loaded.rules, loaded.count * sizeof(LimitRule));
        loaded.rules = rules;
        loaded.room = room;
    }
    loaded.rules[loaded.count++] = rule;
}

// The common fields of all limits of a row.
LimitRule rule_of(std::string_view role, std::string_view subject) {
    LimitRule rule{};
    rule.binds = role == kAll ? Binds::Others : role == kDatabase ? Binds::Database : Binds::Members;
    strlcpy(rule.role, pnstrdup(role.data(), role.size()), sizeof rule.role);
    subject.copy(rule.subject, std::min(subject.size(), sizeof rule.subject - 1));
    return rule;
}

void add_limit(LimitRule rule, Column column, Unit unit, std::int64_t most, std::int64_t window_us) {
    rule.column = column;
    rule.unit = unit;
    rule.most = most;
    rule.window_us = window_us;
    add_rule(rule);
}

bool has(TupleTableSlot *row, int column, Datum &value) {
    bool is_null;
    value = slot_getattr(row, column, &is_null);
    return !is_null;
}

// steadytext_rate_limits: user_id, requests_per_minute, _hour, _day, ...
void take_original_row(TupleTableSlot *row, void *) {
    Datum value;
    if (!has(row, 1, value))
        return;
    const LimitRule rule = rule_of(TextDatumGetCString(value), kAll);
    constexpr std::int64_t kWindows[] = {kMinuteUs, 60 * kMinuteUs, 24 * 60 * kMinuteUs};
    constexpr Column kColumns[] = {PerMinute, PerHour, PerDay};
    for (int i = 0; i < 3; i++)
        if (has(row, 2 + i, value))
            add_limit(rule, kColumns[i], Unit::Requests, std::max(DatumGetInt32(value), 0), kWindows[i]);
}

// A month counts as thirty days.
std::int64_t microseconds(const Interval &interval) {
    return interval.time + (std::int64_t{interval.month} * DAYS_PER_MONTH + interval.day) * USECS_PER_DAY;
}

// steadytext_rate_limit_rules: role_name, operation, requests, per, tokens, concurrency.
void take_rule_row(TupleTableSlot *row, void *) {
    Datum role, operation, per, value;
    if (!has(row, 1, role) || !has(row, 2, operation) || !has(row, 4, per))
        return;
    const LimitRule rule = rule_of(NameStr(*DatumGetName(role)), pg::utf8_text(operation));
    const std::int64_t window_us = microseconds(*DatumGetIntervalP(per));
    if (has(row, 3, value))
        add_limit(rule, Requests, Unit::Requests, DatumGetInt32(value), window_us);
    if (has(row, 5, value))
        add_limit(rule, Tokens, Unit::Tokens, DatumGetInt64(value), window_us);
    if (has(row, 6, value))
        add_limit(rule, Concurrency, Unit::Concurrency, DatumGetInt32(value), 0);
}

// steadytext_budgets: role_name, period, tokens, mode.
void take_budget_row(TupleTableSlot *row, void *) {
    Datum role, period, tokens, mode;
    if (!has(row, 1, role) || !has(row, 2, period) || !has(row, 3, tokens) || !has(row, 4, mode))
        return;
    LimitRule rule = rule_of(NameStr(*DatumGetName(role)), kAll);
    rule.budget = pg::utf8_text(mode) == "enforce" ? Budget::Enforce : Budget::Warn;
    add_limit(rule, BudgetTokens, Unit::Tokens, DatumGetInt64(tokens), microseconds(*DatumGetIntervalP(period)));
}

ServerSettings server_settings() {
    return {guc::server_requests_per_minute, guc::server_tokens_per_minute, guc::server_concurrency,
            guc::limit_superusers};
}

void take_settings(const ServerSettings &server) {
    LimitRule rule = rule_of("", kAll);
    rule.binds = Binds::Server;
    if (server.requests > 0)
        add_limit(rule, Requests, Unit::Requests, server.requests, kMinuteUs);
    if (server.tokens > 0)
        add_limit(rule, Tokens, Unit::Tokens, server.tokens, kMinuteUs);
    if (server.concurrency > 0)
        add_limit(rule, Concurrency, Unit::Concurrency, server.concurrency, 0);
}

void read_all() {
    MemoryContextReset(memory);
    loaded.rules = nullptr;
    loaded.count = loaded.room = 0;
    loaded.generation++;
    loaded.server = server_settings();
    pg::for_each_row(loaded.tables[0], take_original_row, nullptr);
    pg::for_each_row(loaded.tables[1], take_rule_row, nullptr);
    pg::for_each_row(loaded.tables[2], take_budget_row, nullptr);
    take_settings(loaded.server);
}

void load() {
    if (memory == nullptr)
        watch_changes();
    loaded.tables[0] = pg::own_table("steadytext_rate_limits");
    loaded.tables[1] = pg::own_table("steadytext_rate_limit_rules");
    loaded.tables[2] = pg::own_table("steadytext_budgets");
    loaded.copy.make_of(loaded.tables, read_all);
}

void refresh() {
    // A long statement hears of changes too. Without changes this costs two comparisons and a look at the clock.
    AcceptInvalidationMessages();
    if (!(loaded.server == server_settings()))
        loaded.copy.forget();
    if (!loaded.copy.is_confirmed())
        load();
}

// ---- which roles are bound ------------------------------------------------------------------------------------------

bool generates_text(CallKind kind) { return kind != CallKind::Embed && kind != CallKind::Rerank; }

bool speaks_of(const LimitRule &rule, CallKind kind, std::string_view model) {
    const std::string_view subject = rule.subject;
    if (subject.substr(0, kModelPrefix.size()) == kModelPrefix)
        return !model.empty() && subject.substr(kModelPrefix.size()) == model;
    return subject == kAll || subject == shmem::name_of(kind) ||
           (subject == shmem::name_of(CallKind::Generate) && generates_text(kind));
}

void add(BindingRules &binding, const LimitRule &rule, Oid role) {
    if (binding.count == RateLimiter::kMaxLimits)
        ereport(ERROR,
                (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                 errmsg("more than %zu rate limits bind one call", RateLimiter::kMaxLimits),
                 errhint("Remove rows of steadytext_rate_limit_rules, or memberships of roles that have some.")));
    binding.rules[binding.count] = &rule;
    binding.roles[binding.count++] = role;
}

bool binds_member(const LimitRule &rule, Oid role) {
    const Oid of = get_role_oid(rule.role, true);
    return OidIsValid(of) && is_member_of_role_nosuper(role, of);
}

// `speaks`: whether a rule covers the call. `replaces`: whether a rule of the login's own roles takes the place of a
// rule of "*". Only the role that connected has such rules: a role that it acts as, by SET ROLE or in a SECURITY
// DEFINER function, has no allowance to lend it.
template <class Speaks, class Replaces>
void find_rules(Oid user, Oid session_user, BindingRules &binding, Speaks speaks, Replaces replaces) {
    binding.count = 0;
    if (!guc::limit_superusers && superuser_arg(user) && superuser_arg(session_user))
        return;
    const LimitRules rules{loaded.rules, loaded.count};
    for (const LimitRule &rule : rules) {
        if (rule.binds != Binds::Members || !speaks(rule))
            continue;
        if (binds_member(rule, user) || binds_member(rule, session_user))
            add(binding, rule, get_role_oid(rule.role, true));
    }
    const std::uint32_t own = binding.count;
    const auto is_replaced = [&](const LimitRule &rule) {
        return rule.binds == Binds::Others &&
               std::any_of(binding.rules, binding.rules + own, [&](const LimitRule *each) {
                   return replaces(*each, rule) && binds_member(*each, session_user);
               });
    };
    for (const LimitRule &rule : rules)
        if (rule.binds != Binds::Members && speaks(rule) && !is_replaced(rule))
            add(binding, rule, session_user);
}

}  // namespace

RateLimiter::Key LimitRule::key(Oid of_role) const {
    RateLimiter::Key key;
    key.database = binds == Binds::Server ? InvalidOid : MyDatabaseId;
    key.role = binds == Binds::Members || binds == Binds::Others ? of_role : InvalidOid;
    key.rule = std::uint32_t{column} << kColumnBits | static_cast<std::uint32_t>(binds);
    if (budget != Budget::No)
        key.rule |= static_cast<std::uint32_t>(window_us / USECS_PER_DAY) << 2 * kColumnBits;
    memcpy(key.subject, subject, sizeof key.subject);
    return key;
}

bool is_budget(const RateLimiter::Key &key) { return (key.rule >> kColumnBits & 0xff) == BudgetTokens; }

LimitRule rule_behind(const RateLimiter::Key &key, const RateLimiter::Limit &limit) {
    LimitRule rule{};
    rule.binds = static_cast<Binds>(key.rule & 0xff);
    rule.column = static_cast<std::uint8_t>(key.rule >> kColumnBits);
    rule.unit = limit.unit;
    rule.most = limit.most;
    rule.window_us = limit.window_us;
    memcpy(rule.subject, key.subject, sizeof rule.subject);
    if (const char *role = OidIsValid(key.role) ? GetUserNameFromId(key.role, true) : nullptr; role != nullptr)
        strlcpy(rule.role, role, sizeof rule.role);
    return rule;
}

bool counts_for(const LimitRule &rule, Oid of_role, Oid role) {
    return rule.binds == Binds::Database || role == of_role ||
           (rule.binds == Binds::Members && OidIsValid(role) && is_member_of_role_nosuper(role, of_role));
}

LimitRules limit_rules() {
    refresh();
    return {loaded.rules, loaded.count};
}

std::uint64_t limit_rules_generation() { return loaded.generation; }

std::string_view daemon_of(const LimitRule &rule) {
    const std::string_view subject = rule.subject;
    return subject.starts_with(kDaemonPrefix) ? subject.substr(kDaemonPrefix.size()) : std::string_view();
}

void find_binding_rules(Oid user, Oid session_user, CallKind kind, std::string_view model, BindingRules &binding) {
    find_rules(
        user, session_user, binding, [&](const LimitRule &rule) { return speaks_of(rule, kind, model); },
        [](const LimitRule &, const LimitRule &) { return true; });
}

void find_daemon_rules(Oid user, Oid session_user, BindingRules &binding) {
    find_rules(
        user, session_user, binding, [](const LimitRule &rule) { return !daemon_of(rule).empty(); },
        [](const LimitRule &own, const LimitRule &other) { return daemon_of(own) == daemon_of(other); });
}

}  // namespace steadytext::session

// Statement trigger on the tables of limits: at commit every process, also on standbys, drops its copy of the rows.
STEADYTEXT_FUNCTION(steadytext_rate_limits_changed) {
    if (!CALLED_AS_TRIGGER(fcinfo))
        ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
                        errmsg("steadytext_rate_limits_changed must be called as a trigger")));
    auto *trigger = reinterpret_cast<TriggerData *>(fcinfo->context);
    CacheInvalidateRelcacheByRelid(RelationGetRelid(trigger->tg_relation));
    return PointerGetDatum(nullptr);
}
