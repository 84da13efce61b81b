// Sums in the leader's note: see statement_caps.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/session/statement_caps.hpp"
#include "shmem/segment.hpp"
#include "src/guc.hpp"
#include "src/pg/boundary.hpp"
#include "src/session/on_failure.hpp"
#include "src/session/observe.hpp"
#include "src/session/restore.hpp"

extern "C" {
#include "access/xact.h"
#include "miscadmin.h"
}

#include <algorithm>

namespace steadytext::session::caps {

using shmem::ParallelNote;

namespace {

constexpr std::int64_t kLetThrough = -1;  // in place of the most calls, in the leader's note: it restores

std::uint64_t number = 1;  // of this process's statement
TimestampTz sent_at = 0;   // by the client: the message that it is of

ParallelNote *note() {
    if (!shmem::segment_attached() || MyProc == nullptr)
        return nullptr;
    const int32 leader = pg::parallel_leader();
    return shmem::segment().parallel_notes->of(leader >= 0 ? leader : pg::my_proc_number());
}

// The sums begin anew with the next statement: after an error, workers of the last go on for a moment.
void begin_statement() {
    sent_at = GetCurrentStatementStartTimestamp();
    number++;
    ParallelNote *mine = pg::parallel_leader() < 0 ? note() : nullptr;
    if (mine == nullptr ||
        (mine->calls.load(std::memory_order_relaxed) == 0 && mine->tokens.load(std::memory_order_relaxed) == 0))
        return;
    mine->calls.store(0, std::memory_order_relaxed);
    mine->tokens.store(0, std::memory_order_relaxed);
}

// 0 is none.
std::int64_t lower(std::int64_t one, std::int64_t other) {
    return one == 0 || other == 0 ? std::max(one, other) : std::min(one, other);
}

// The caps in force: a worker has its leader's.
struct Caps {
    ParallelNote *note;
    std::int64_t calls, tokens;
    [[nodiscard]] bool are_none() const { return calls == 0 && tokens == 0; }
};

Caps caps_now() {
    ParallelNote *sums = note();
    if (sums == nullptr)
        return {};
    if (pg::parallel_leader() < 0)
        begin_level();
    const std::int64_t calls = sums->most_calls.load(std::memory_order_relaxed);
    return {sums, calls == kLetThrough ? 0 : calls, sums->most_tokens.load(std::memory_order_relaxed)};
}

bool add(std::atomic<std::int64_t> &sum, std::int64_t amount, std::int64_t most) {
    std::int64_t before = sum.load(std::memory_order_relaxed);
    do {
        if (most > 0 && before + amount > most)
            return false;
    } while (!sum.compare_exchange_weak(before, before + amount, std::memory_order_relaxed));
    return true;
}

bool is_one_too_many(const Caps &caps) {
    return caps.calls > 0 && caps.note->calls.load(std::memory_order_relaxed) + 1 > caps.calls;
}

// False, and nothing is charged, if the call would be one too many.
bool take(const Caps &caps, const Spending &spending, Charge &charge) {
    if (!add(caps.note->tokens, spending.tokens, caps.tokens))
        return false;
    if (!add(caps.note->calls, 1, caps.calls)) {
        caps.note->tokens.fetch_sub(spending.tokens, std::memory_order_relaxed);
        return false;
    }
    charge = {number, spending.tokens};
    return true;
}

bool is_beyond_the_cap_alone(const Caps &caps, const Spending &spending) {
    return !is_one_too_many(caps) && spending.tokens > caps.tokens;
}

// What to do: of a call that is alone beyond the cap, fewer rows would not help.
const char *advice(const Caps &caps, const Spending &spending) {
    if (!is_beyond_the_cap_alone(caps, spending))
        return "Ask for fewer rows at once";
    return spending.tokens - spending.answer_tokens < caps.tokens
               ? "One call alone may need more: give it a smaller max_tokens"
               : "One call alone needs more: give it a shorter text";
}

void describe(const Caps &caps, const Spending &spending, core::Problem &problem) {
    const char *setting;
    bool is_own;
    if (is_one_too_many(caps)) {
        is_own = caps.calls != guc::max_calls_per_statement;
        setting = "max_calls_per_statement";
        problem.set(core::sqlstate::kConfigurationLimitExceeded, "statement makes more than %lld calls",
                    static_cast<long long>(caps.calls));
        problem.with_detail("Answers from the cache do not count.");
    } else {
        is_own = caps.tokens != guc::max_tokens_per_statement;
        setting = "max_tokens_per_statement";
        const std::int64_t used = caps.note->tokens.load(std::memory_order_relaxed);
        problem.set(core::sqlstate::kConfigurationLimitExceeded, "statement needs more than %lld tokens",
                    static_cast<long long>(caps.tokens));
        problem.with_detail("It has used %lld of them; the next call may need %lld.", static_cast<long long>(used),
                            static_cast<long long>(spending.tokens));
    }
    if (is_own)
        problem.with_hint("%s, or raise steadytext.own_%s.", advice(caps, spending), setting);
    else
        problem.with_hint("%s, or have a superuser raise steadytext.%s.", advice(caps, spending), setting);
}

bool only_warns() { return static_cast<guc::OnCap>(guc::on_cap) == guc::OnCap::Warn; }

ParallelNote *note_of(const Charge &charge) { return charge.statement == number ? note() : nullptr; }

}  // namespace

void begin_level() {
    // Triggers that were put off to the commit, and what a function called by message runs, are levels of their own.
    if (sent_at != GetCurrentStatementStartTimestamp())
        begin_statement();
    const bool through = pg::parallel_leader() < 0 && restore::is_superusers();
    const std::int64_t calls =
        through ? kLetThrough : lower(guc::max_calls_per_statement, guc::own_max_calls_per_statement);
    const std::int64_t tokens = through ? 0 : lower(guc::max_tokens_per_statement, guc::own_max_tokens_per_statement);
    const bool any = (calls | tokens) != 0;
    static bool were_any = true;  // an earlier process of the same number may have left its caps
    if (!any && !were_any)
        return;
    ParallelNote *mine = pg::parallel_leader() < 0 ? note() : nullptr;
    if (mine == nullptr)
        return;
    were_any = any;
    mine->most_calls.store(calls, std::memory_order_relaxed);
    mine->most_tokens.store(tokens, std::memory_order_relaxed);
}

bool leader_lets_through() {
    const ParallelNote *leaders = note();
    return leaders != nullptr && leaders->most_calls.load(std::memory_order_relaxed) == kLetThrough;
}

bool charge(const Spending &spending, Charge &charge) {
    const Caps caps = caps_now();
    return charge.statement != 0 || caps.are_none() || take(caps, spending, charge);
}

bool has_let_go() { return only_warns() && has_warned(core::sqlstate::kConfigurationLimitExceeded); }

void refuse(const Spending &spending, Quota &quota) {
    core::Problem problem;
    describe(caps_now(), spending, problem);
    if (only_warns()) {
        problem.with_hint("The statement goes on, since steadytext.on_cap is warn.");
        return warn_once(problem);
    }
    session::withdraw(quota);
    observe::limited();
    pg::raise(problem);
}

Turn turn_of(const Spending &spending, std::int64_t under_way) {
    const Caps caps = caps_now();
    if (caps.are_none() || has_let_go())
        return Turn::Any;
    const bool has_room = !is_one_too_many(caps) &&
                          (caps.tokens == 0 || caps.note->tokens.load(std::memory_order_relaxed) <=
                                                   caps.tokens - (under_way + spending.tokens) * kMaxPerEstimated);
    return has_room ? Turn::InOrder : Turn::Later;
}

void settle(Charge &charge, std::int64_t tokens) {
    if (ParallelNote *sums = note_of(charge); sums != nullptr && tokens >= 0)
        sums->tokens.fetch_add(tokens - charge.tokens, std::memory_order_relaxed);
    charge = {};
}

void withdraw(Charge &charge) {
    if (ParallelNote *sums = note_of(charge); sums != nullptr) {
        sums->tokens.fetch_sub(charge.tokens, std::memory_order_relaxed);
        sums->calls.fetch_sub(1, std::memory_order_relaxed);
    }
    charge = {};
}

}  // namespace steadytext::session::caps
