// The gate: rules to meters, refusals in words, waiting, settling. See limits.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/session/limits.hpp"
#include "src/session/login.hpp"
#include "shmem/segment.hpp"
#include "src/core/balance.hpp"
#include "src/core/clock.hpp"
#include "src/guc.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/once.hpp"
#include "src/session/budgets.hpp"
#include "src/session/on_failure.hpp"
#include "src/session/limit_refusals.hpp"
#include "src/session/limit_rules.hpp"
#include "src/session/observe.hpp"
#include "src/session/restore.hpp"

extern "C" {
#include "access/xact.h"
}

#include <algorithm>

namespace steadytext::session {

using shmem::Counter;
using shmem::DaemonLimits;
using Limit = RateLimiter::Limit;
using Unit = RateLimiter::Unit;
using Refusals = RateLimiter::Refusals;
using Verdict = RateLimiter::Verdict;

namespace {

RateLimiter &limiter() { return *shmem::segment().limiter; }
RateLimiter::Caller me() { return {pg::my_proc_number(), MyProcPid}; }
void wake(std::int32_t proc_number) { pg::set_latch_of(proc_number); }
void count(Counter counter) {
    shmem::segment().counters->add(static_cast<std::uint32_t>(pg::my_proc_number()), counter);
}

// ---- the limits of a kind of call, worked out once -----------------------------------------------------------------

struct Bound {
    std::uint64_t generation = 0;  // of the rules; 0: this place is free, or its meters have to be looked for again
    Oid user, session_user;
    shmem::CallKind kind;
    char model[128];
    bool needs_settling;
    bool has_budget;
    std::uint32_t count;
    Limit limits[RateLimiter::kMaxLimits];  // by meter
    const LimitRule *rules[RateLimiter::kMaxLimits];
    Oid roles[RateLimiter::kMaxLimits];
    std::uint32_t daemon_count;
    DaemonLimits::Item at_daemons[DaemonLimits::kMost];  // by meter
};

constexpr int kRemembered = 8;
Bound remembered[kRemembered];

bool is_for(const Bound &bound, Oid user, Oid session_user, const Spending &spending) {
    return bound.generation == limit_rules_generation() && bound.user == user && bound.session_user == session_user &&
           spending.kind == bound.kind && spending.model == bound.model;
}

// Finds the meters of the rules, in the order that admit() wants. False if no meter is left for a rule.
bool find_meters(const BindingRules &binding, Bound &bound, std::int64_t now_us) {
    bound.count = 0;
    bound.needs_settling = bound.has_budget = false;
    for (std::uint32_t i = 0; i < binding.count; i++) {
        const LimitRule &rule = *binding.rules[i];
        Limit limit{{}, rule.unit, rule.enforced_most(), rule.window_us};
        if (!limiter().find(rule.key(binding.roles[i]), now_us, limit.meter))
            return false;
        if (rule.budget != Budget::No) {
            remember_usage(rule, binding.roles[i], limit.meter, now_us);
            bound.has_budget = true;
        }
        std::uint32_t place = bound.count++;
        for (; place > 0 && bound.limits[place - 1].meter.index > limit.meter.index; place--) {
            bound.limits[place] = bound.limits[place - 1];
            bound.rules[place] = bound.rules[place - 1];
            bound.roles[place] = bound.roles[place - 1];
        }
        bound.limits[place] = limit;
        bound.rules[place] = &rule;
        bound.roles[place] = binding.roles[i];
        bound.needs_settling |= rule.unit != Unit::Requests;
    }
    return true;
}

// The same for rules at daemons.
bool find_daemon_meters(const BindingRules &binding, Bound &bound, std::int64_t now_us) {
    bound.daemon_count = 0;
    if (binding.count > DaemonLimits::kMost)
        ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                        errmsg("more than %zu rate limits of daemons bind one call", DaemonLimits::kMost),
                        errhint("A row for a dns+tcp:// endpoint speaks of all daemons that its name leads to.")));
    for (std::uint32_t i = 0; i < binding.count; i++) {
        const LimitRule &rule = *binding.rules[i];
        DaemonLimits::Item item{core::stable_hash(daemon_of(rule)), {{}, rule.unit, rule.most, rule.window_us}};
        if (!limiter().find(rule.key(binding.roles[i]), now_us, item.limit.meter))
            return false;
        std::uint32_t place = bound.daemon_count++;
        for (; place > 0 && bound.at_daemons[place - 1].limit.meter.index > item.limit.meter.index; place--)
            bound.at_daemons[place] = bound.at_daemons[place - 1];
        bound.at_daemons[place] = item;
    }
    bound.needs_settling |= bound.daemon_count > 0;
    return true;
}

// Null if a meter is missing.
Bound *bound_by(const Spending &spending, std::int64_t now_us) {
    const Oid user = GetUserId();
    const Oid session_user = login_of(spending);
    for (Bound &bound : remembered)
        if (is_for(bound, user, session_user, spending))
            return &bound;
    static int next = 0;
    BindingRules binding;
    find_binding_rules(user, session_user, spending.kind, spending.model, binding);
    Bound &bound = remembered[next];
    bound.generation = 0;
    if (!find_meters(binding, bound, now_us))
        return nullptr;
    find_daemon_rules(user, session_user, binding);
    if (!find_daemon_meters(binding, bound, now_us))
        return nullptr;
    next = (next + 1) % kRemembered;
    bound.user = user;
    bound.session_user = session_user;
    bound.kind = spending.kind;
    memset(bound.model, 0, sizeof bound.model);
    spending.model.copy(bound.model, std::min(spending.model.size(), sizeof bound.model - 1));
    bound.generation = limit_rules_generation();
    return &bound;
}

// ---- calls under way -----------------------------------------------------------------------------------------------

// Calls of this session that have something to settle.
struct OpenCall {
    SubTransactionId subtransaction = InvalidSubTransactionId;  // none: this place is free
    std::uint64_t number = 0;
    RateLimiter::Grant grant;
};
constexpr SubTransactionId kNone = static_cast<SubTransactionId>(-1);  // belongs to none: outlives them all
constexpr int kMaxOpen = 32;
OpenCall open_calls[kMaxOpen];

void close(OpenCall &call) {
    limiter().end(call.grant, me(), wake);
    call.subtransaction = InvalidSubTransactionId;
}

void at_end(XactEvent event, void *) {
    if (event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_PARALLEL_PRE_COMMIT || event == XACT_EVENT_PRE_PREPARE)
        return;
    for (OpenCall &call : open_calls)
        if (call.subtransaction != InvalidSubTransactionId && call.subtransaction != kNone)
            close(call);
}

void at_subtransaction_end(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *) {
    for (OpenCall &call : open_calls) {
        if (call.subtransaction != mine)
            continue;
        if (event == SUBXACT_EVENT_ABORT_SUB)
            close(call);
        else if (event == SUBXACT_EVENT_COMMIT_SUB)
            call.subtransaction = parent;
    }
}

// A free place, or null.
OpenCall *find_place() {
    pg::once([] {
        RegisterXactCallback(at_end, nullptr);
        RegisterSubXactCallback(at_subtransaction_end, nullptr);
    });
    for (OpenCall &call : open_calls)
        if (call.subtransaction == InvalidSubTransactionId)
            return &call;
    return nullptr;
}

// The call of a quota, or null: its transaction has ended it, or it has nothing to settle.
OpenCall *opened(const Quota &quota) {
    if (quota.place < 0)
        return nullptr;
    OpenCall &call = open_calls[quota.place];
    return call.subtransaction != InvalidSubTransactionId && call.number == quota.number ? &call : nullptr;
}

Quota open(OpenCall &call) {
    static std::uint64_t last_number = 0;
    call.subtransaction = GetCurrentSubTransactionId();
    call.number = ++last_number;
    return {static_cast<int>(&call - open_calls), call.number};
}

// ---- admission -----------------------------------------------------------------------------------------------------

// The reason that stands against a call.
struct Obstacle {
    Refusal refusal;
    bool is_concurrency = false;
    RateLimiter::MeterId meter{};  // if so
};

bool is_alive(std::int32_t proc_number, std::int32_t pid) { return pg::pid_of(proc_number) == pid; }

// A refusal for lack of concurrency stands only if no lease of a process that is gone is in the way.
RateLimiter::Outcome ask_limiter(const Bound &bound, const RateLimiter::Demand &demand, std::int64_t now_us,
                                 RateLimiter::Grant &grant, RateLimiter::Refusals refusals) {
    const std::span<const Limit> limits(bound.limits, bound.count);
    RateLimiter::Outcome outcome = limiter().admit(limits, demand, me(), now_us, grant, refusals);
    if (outcome.verdict == Verdict::Refused && limits[outcome.refused_by].unit == Unit::Concurrency &&
        limiter().sweep(is_alive, wake) > 0)
        outcome = limiter().admit(limits, demand, me(), now_us, grant, refusals);
    return outcome;
}

// Asks the meters of a call; Stale if the call has to look for them again.
Verdict ask_meters(const Bound &bound, const Spending &spending, std::int64_t now_us, Quota &quota,
                   RateLimiter::Refusals refusals, Obstacle &obstacle) {
    static RateLimiter::Grant nothing_to_settle;
    OpenCall *call = bound.needs_settling ? find_place() : nullptr;
    if (bound.needs_settling && call == nullptr) {
        describe_missing_lease(obstacle.refusal.problem);
        return Verdict::NoLeases;
    }
    const RateLimiter::Demand demand{spending.requests, spending.tokens};
    const RateLimiter::Outcome outcome =
        ask_limiter(bound, demand, now_us, call != nullptr ? call->grant : nothing_to_settle, refusals);
    if (outcome.verdict == Verdict::Admitted && call != nullptr)
        quota = open(*call);
    if (outcome.verdict == Verdict::NoLeases)
        describe_missing_lease(obstacle.refusal.problem);
    if (outcome.verdict == Verdict::Refused) {
        const LimitRule &rule = *bound.rules[outcome.refused_by];
        const Oid role = bound.roles[outcome.refused_by];
        if (rule.budget != Budget::No)
            describe_budget(outcome, rule, role, spending, obstacle.refusal.problem);
        else
            describe(outcome, rule, role, demand, obstacle.refusal.problem);
        obstacle.refusal.wait_us = outcome.wait_us;
        obstacle.is_concurrency = bound.limits[outcome.refused_by].unit == Unit::Concurrency;
        obstacle.meter = bound.limits[outcome.refused_by].meter;
    }
    return outcome.verdict;
}

void warn_of_budgets(const Bound &bound, std::int64_t now_us) {
    for (std::uint32_t i = 0; i < bound.count; i++)
        if (const LimitRule &rule = *bound.rules[i]; rule.budget != Budget::No)
            warn_of_budget(rule, bound.limits[i].meter, whose(rule, bound.roles[i]), now_us);
}

bool attempt(const Spending &spending, Quota &quota, Obstacle &obstacle) {
    obstacle = Obstacle{};
    constexpr int kAttempts = 5;  // others may take our meters between the look and the charge, when few are left
    for (int i = 0; i < kAttempts; i++) {
        const std::int64_t now_us = core::monotonic_us();
        Bound *bound = bound_by(spending, now_us);
        if (bound == nullptr)
            break;
        if (bound->count == 0 && bound->daemon_count == 0)
            return true;
        const Verdict verdict = ask_meters(*bound, spending, now_us, quota, Refusals::Counted, obstacle);
        if (verdict == Verdict::Admitted && bound->has_budget)
            warn_of_budgets(*bound, now_us);
        if (verdict != Verdict::Stale)
            return verdict == Verdict::Admitted;
        bound->generation = 0;
    }
    describe_missing_meter(obstacle.refusal.problem);
    return false;
}

// Limits count, and refuse nothing.
bool is_shadow() { return guc::limit_shadow_mode || restore::is_superusers(); }

bool attempt_or_shadow(const Spending &spending, Quota &quota, Obstacle &obstacle) {
    if (attempt(spending, quota, obstacle))
        return true;
    if (!is_shadow())
        return false;
    count(Counter::LimitShadowRefusals);
    return true;
}

// As steadytext.on_limit says; comes back only if it is `null`.
void refuse(const core::Problem &problem) {
    observe::limited();
    if (static_cast<guc::OnLimit>(guc::on_limit) != guc::OnLimit::Null)
        pg::raise(problem);
    warn_once(problem);
}

// Whether the limit lets a call go ahead of its turn.
bool has_room_ahead(const Bound &bound, std::uint32_t place, const Spending &spending, std::int64_t under_way,
                    std::int64_t now_us) {
    const Limit &limit = bound.limits[place];
    const LimitRule &rule = *bound.rules[place];
    RateLimiter::Usage usage;
    if (!limiter().peek(limit, now_us, usage))
        return false;
    const bool is_of_tokens = limit.unit == Unit::Tokens;
    const std::int64_t needed = is_of_tokens ? (under_way + spending.tokens) * kMaxPerEstimated : spending.requests;
    const bool warns = rule.budget != Budget::No && !has_warned(core::sqlstate::kWarning);
    const std::int64_t most = warns ? std::min(limit.most, warned_from(rule) - 1) : limit.most;
    return usage.used <= most - needed;
}

}  // namespace

Turn turn_of(const Spending &spending, std::int64_t under_way) {
    if (limit_rules().count == 0)
        return Turn::Any;
    const std::int64_t now_us = core::monotonic_us();
    const Bound *bound = bound_by(spending, now_us);
    if (bound == nullptr || bound->daemon_count > 0)
        return Turn::Own;
    if (bound->count == 0)
        return Turn::Any;
    bool has_room = !bound->needs_settling || find_place() != nullptr;
    for (std::uint32_t i = 0; i < bound->count; i++) {
        if (bound->limits[i].unit == Unit::Concurrency)
            return Turn::Own;
        has_room = has_room && has_room_ahead(*bound, i, spending, under_way, now_us);
    }
    return has_room ? Turn::InOrder : Turn::Later;
}

bool admit_ahead(const Spending &spending, Quota &quota) {
    Obstacle obstacle;
    const std::int64_t now_us = core::monotonic_us();
    const Bound *bound = bound_by(spending, now_us);
    return bound != nullptr && (bound->count == 0 || ask_meters(*bound, spending, now_us, quota, Refusals::Uncounted,
                                                                obstacle) == Verdict::Admitted);
}

Oid login_of(const Spending &spending) { return OidIsValid(spending.login) ? spending.login : login(); }

Admission admit(const Spending &spending, Quota &quota, bool has_others, Deadline &deadline, std::int64_t &again_us,
                Refusal &refusal) {
    constexpr std::int64_t kLookAgainUs = 1'000'000;
    Obstacle obstacle;
    if (attempt_or_shadow(spending, quota, obstacle))
        return Admission::Admitted;
    const bool waits = static_cast<guc::OnLimit>(guc::on_limit) == guc::OnLimit::Wait;
    const bool is_for_others = obstacle.refusal.wait_us == 0 && has_others;
    // A call that ended before this session watched has woken nobody.
    const bool watches = waits && obstacle.is_concurrency && !is_for_others;
    if (watches) {
        limiter().watch(obstacle.meter, me());
        if (attempt_or_shadow(spending, quota, obstacle))
            return Admission::Admitted;
    }
    const std::int64_t now_us = core::monotonic_us(), wait_us = obstacle.refusal.wait_us;
    again_us = now_us + (wait_us == 0 ? kLookAgainUs : std::min(wait_us, kLookAgainUs));
    if (is_for_others) {
        again_us = now_us;
        return Admission::AfterOthers;
    }
    if (waits && now_us < deadline.us() && wait_us <= deadline.us() - now_us)
        return watches ? Admission::WhenWoken : Admission::Later;
    refusal = obstacle.refusal;
    refuse(refusal.problem);
    return Admission::Refused;
}

void outlive_transaction(const Quota &quota) {
    if (OpenCall *call = opened(quota); call != nullptr)
        call->subtransaction = kNone;
}

bool bind_at_daemons(const Spending &spending, DaemonLimits &limits, core::Problem &problem) {
    limits.count = limits.charged = 0;
    limits.refusal = {};
    if (limit_rules().count == 0)
        return true;
    const Bound *bound = bound_by(spending, core::monotonic_us());
    if (bound == nullptr) {
        describe_missing_meter(problem);
        return false;
    }
    limits.demand = {spending.requests, spending.tokens};
    limits.waits = static_cast<guc::OnLimit>(guc::on_limit) == guc::OnLimit::Wait;
    limits.shadow = is_shadow();
    limits.count = bound->daemon_count;
    std::copy(bound->at_daemons, bound->at_daemons + bound->daemon_count, limits.items);
    return true;
}

void add_charges(const Quota &quota, const DaemonLimits &limits) {
    if (OpenCall *call = limits.charged == 0 ? nullptr : opened(quota); call != nullptr)
        limits.add_to(call->grant);
}

void describe_refusal(const DaemonLimits &limits, core::Problem &problem) {
    const DaemonLimits::Refusal &refusal = limits.refusal;
    const Limit &limit = limits.items[refusal.item].limit;
    RateLimiter::Key key;
    RateLimiter::MeterId meter;
    if (!refusal.is_stale && limiter().describe(limit.meter.index, key, meter) &&
        meter.generation == limit.meter.generation) {
        RateLimiter::Outcome outcome;
        outcome.wait_us = refusal.wait_us;
        outcome.left = refusal.left;
        describe(outcome, rule_behind(key, limit), key.role, limits.demand, problem);
        return;
    }
    for (Bound &bound : remembered)
        bound.generation = 0;
    describe_missing_meter(problem);
}

void withdraw(Quota &quota) {
    if (OpenCall *call = opened(quota); call != nullptr) {
        limiter().undo(call->grant, me(), core::monotonic_us(), wake);
        call->subtransaction = InvalidSubTransactionId;
    }
    quota = Quota{};
}

void refuse_after_all(Quota &quota, const core::Problem &problem) {
    withdraw(quota);
    refuse(problem);
}

void settle(Quota &quota, std::int64_t tokens) {
    OpenCall *call = opened(quota);
    quota = Quota{};
    if (call == nullptr)
        return;
    if (tokens >= 0)
        limiter().settle(call->grant, tokens, me(), core::monotonic_us(), wake);
    close(*call);
}

}  // namespace steadytext::session
