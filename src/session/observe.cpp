// Keeping and counting the call under way: see observe.hpp. Regime: pg; nothing raises, and only
// the log of slow calls allocates.
#include "src/pg/compat.hpp"
#include "src/session/observe.hpp"
#include "shmem/segment.hpp"
#include "src/core/clock.hpp"
#include "src/core/sha256.hpp"
#include "src/guc.hpp"
#include "src/pg/once.hpp"
#include "src/session/keeper_call.hpp"
#include "src/session/login.hpp"

extern "C" {
#include "access/xact.h"
#include "utils/backend_status.h"
}

#include <algorithm>
#include <utility>

namespace steadytext::session::observe {

using shmem::CallOutcome;
using shmem::CallStage;
using shmem::EndedCall;
using shmem::FailureCause;

namespace {

// The call under way.
struct Current {
    bool active;
    std::int64_t start_us, stopped_us;  // the latter 0: not yet
    EndedCall call;
    std::uint64_t prompt_hash;  // 0: not computed
    Oid login;                  // the role that connected
};
Current current;
std::int64_t last_daemon_us = 0;

// Calls of a kind wait here until another kind, the transaction's end or a second comes: then pg_stat_steadytext and
// steadytext_usage get them together.
struct Pending {
    shmem::StatementKey key;
    shmem::StatementCounts counts;
    std::int64_t since_us;
};
Pending pending;
char current_model[shmem::kModelNameBytes];

shmem::StatementCounts *tallied = nullptr;

using shmem::ParallelNote;

struct Numbers {
    std::uint64_t of[ParallelNote::kEndedNumbers];
};
Numbers numbers_of(const shmem::StatementCounts &counts) {
    return {{counts.calls, counts.hits, counts.failures, counts.prompt_tokens, counts.completion_tokens,
             counts.saved_tokens, static_cast<std::uint64_t>(counts.total_us)}};
}

// A worker's call, for its leader's EXPLAIN.
void tell_leader(const EndedCall &call) {
    const std::int32_t leader = pg::parallel_leader();
    ParallelNote *note = leader >= 0 ? shmem::segment().parallel_notes->of(leader) : nullptr;
    if (note == nullptr)
        return;
    shmem::StatementCounts counts;
    counts.add(call);
    const Numbers numbers = numbers_of(counts);
    for (std::size_t i = 0; i < ParallelNote::kEndedNumbers; i++)
        note->ended[i].fetch_add(numbers.of[i], std::memory_order_relaxed);
}

constexpr std::int64_t kPendingUs = 1'000'000;
constexpr std::int64_t kDayUs = 86'400'000'000;

constexpr EndedCall kBegun = {{}, CallOutcome::Refused, false, {}, false, 0, 0, 0, 0, {-1, -1, -1, -1, -1}};

// For steadytext_usage, which this database's keeper writes.
void add_usage(const shmem::Segment &segment) {
    shmem::DatabaseRow *row = my_database();
    shmem::UsageKey key;
    key.role = pending.key.role;
    key.database = pending.key.database;
    key.day = static_cast<std::int32_t>(core::unix_us() / kDayUs);
    strlcpy(key.model, pending.key.model, sizeof key.model);
    if (row == nullptr || !segment.usage->add(key, pending.counts))
        segment.counters->add(static_cast<std::uint32_t>(pg::my_proc_number()), shmem::Counter::UsageDropped,
                              pending.counts.calls);
    else
        row->note_usage();
}

void flush_pending() {
    if (pending.counts.calls == 0)
        return;
    const shmem::Segment &segment = shmem::segment();
    segment.statements->add(pending.key, pending.counts);
    add_usage(segment);
    pending.counts = {};
}

void add_to_pending(std::int64_t now_us) {
    shmem::StatementKey &key = pending.key;
    const std::uint32_t role = GetUserId();
    const auto query_id = static_cast<std::uint64_t>(pgstat_get_my_query_id());
    if (pending.counts.calls > 0 && (key.role != role || key.query_id != query_id || key.kind != current.call.kind ||
                                     now_us - pending.since_us > kPendingUs || strcmp(key.model, current_model) != 0))
        flush_pending();
    if (pending.counts.calls == 0) {
        key.role = role;
        key.database = MyDatabaseId;
        key.query_id = query_id;
        key.kind = current.call.kind;
        strlcpy(key.model, current_model, sizeof key.model);
        pending.since_us = now_us;
    }
    pending.counts.add(current.call);
}

// A prompt is known by its hash; the statement, which may quote it, is not logged.
void log_if_slow() {
    const EndedCall &call = current.call;
    if (guc::log_min_duration_ms < 0 || call.took_us < std::int64_t{guc::log_min_duration_ms} * 1000)
        return;
    StringInfoData detail;
    initStringInfo(&detail);
    appendStringInfo(&detail, "prompt %016llx, model \"%s\"", static_cast<unsigned long long>(current.prompt_hash),
                     current_model);
    for (std::size_t i = 0; i < shmem::kCallStages; i++)
        if (call.stages_us[i] >= 0)
            appendStringInfo(&detail, ", %s %.3f ms", shmem::kCallStageNames[i],
                             static_cast<double>(call.stages_us[i]) / 1000);
    if (call.completion_tokens > 0)
        appendStringInfo(&detail, ", %u and %u tokens", call.prompt_tokens, call.completion_tokens);
    ereport(LOG, (errmsg("duration: %.3f ms  steadytext %s: %s", static_cast<double>(call.took_us) / 1000,
                         shmem::name_of(call.kind), shmem::kCallOutcomeNames[static_cast<std::size_t>(call.outcome)]),
                  errdetail_log("%s.", detail.data), errhidestmt(true), errhidecontext(true)));
    pfree(detail.data);
}

// For incidents: a timeout says nothing of the server if the call's own deadline was sooner than the server's limit for
// a daemon.
void count_by_role(const shmem::Segment &segment, const EndedCall &call) {
    const bool is_own_doing =
        call.has_failed && call.cause == FailureCause::Timeout && guc::request_timeout_ms < guc::breaker_timeout_ms;
    if (is_own_doing)
        segment.counters->add(static_cast<std::uint32_t>(pg::my_proc_number()), shmem::Counter::OwnTimeouts);
    segment.role_calls->count(current.login, call.has_failed && !is_own_doing);
}

// Counts the call that is under way. `completed`: it came to its end, with any outcome.
void count(std::int64_t now_us, bool completed) {
    current.active = false;
    last_daemon_us =
        current.call.outcome == CallOutcome::Ok
            ? std::max<std::int64_t>(current.call.stages_us[static_cast<std::size_t>(CallStage::Network)], 0) +
                  std::max<std::int64_t>(current.call.stages_us[static_cast<std::size_t>(CallStage::Engine)], 0)
            : 0;
    log_if_slow();
    if (tallied != nullptr)
        tallied->add(current.call);
    tell_leader(current.call);
    if (!guc::track_calls)
        return;
    const shmem::Segment &segment = shmem::segment();
    const std::int32_t process = pg::my_proc_number();
    const EndedCall &call = current.call;
    const bool answered =
        call.outcome == CallOutcome::Hit || call.outcome == CallOutcome::Joined || call.outcome == CallOutcome::Ok;
    segment.calls->count(process, call);
    if (call.outcome != CallOutcome::Hit && call.outcome != CallOutcome::Joined && call.outcome != CallOutcome::Limited)
        count_by_role(segment, call);
    segment.recent_calls->add(static_cast<std::uint32_t>(process),
                              {now_us, call.took_us, call.kind, completed && answered && !call.has_failed});
    add_to_pending(now_us);
}

void end_on_abort() {
    if (!current.active)
        return;
    const std::int64_t now_us = core::monotonic_us();
    current.call.took_us = now_us - current.start_us;
    count(now_us, false);
}

void at_transaction_end(XactEvent event, void *) {
    if (event == XACT_EVENT_ABORT || event == XACT_EVENT_PARALLEL_ABORT)
        end_on_abort();
    flush_pending();
}

void at_subtransaction_end(SubXactEvent event, SubTransactionId, SubTransactionId, void *) {
    if (event == SUBXACT_EVENT_ABORT_SUB)
        end_on_abort();
}

void watch_transactions() {
    pg::once([] {
        RegisterXactCallback(at_transaction_end, nullptr);
        RegisterSubXactCallback(at_subtransaction_end, nullptr);
    });
}

bool is_class(const core::Problem &problem, const char *sqlstate) {
    return strncmp(problem.sqlstate, sqlstate, 2) == 0;
}
bool is(const core::Problem &problem, const char *sqlstate) { return strcmp(problem.sqlstate, sqlstate) == 0; }

FailureCause cause_of(const core::Problem &problem) {
    if (is(problem, core::sqlstate::kTooManyConnections))
        return FailureCause::PoolExhausted;
    if (is_class(problem, core::sqlstate::kInsufficientResources))
        return FailureCause::NoRoom;
    if (is(problem, core::sqlstate::kPrerequisiteState) || is(problem, core::sqlstate::kUndefinedObject))
        return FailureCause::NotConfigured;
    if (is(problem, core::sqlstate::kCannotConnect) || is(problem, core::sqlstate::kHeldBack) ||
        is(problem, core::sqlstate::kCannotConnectNow))
        return FailureCause::Unreachable;
    if (is(problem, core::sqlstate::kProtocolViolation))
        return FailureCause::InvalidReply;
    if (is_class(problem, core::sqlstate::kConnectionFailure))
        return FailureCause::ConnectionLost;
    return is_class(problem, core::sqlstate::kExternalRoutineError) ? FailureCause::Engine : FailureCause::Other;
}

void fail(FailureCause cause) {
    EndedCall &call = current.call;
    if (call.has_failed || call.outcome == CallOutcome::Limited)
        return;
    call.has_failed = true;
    call.cause = cause;
    if (shmem::was_sent(call.outcome))
        call.outcome = cause == FailureCause::Timeout ? CallOutcome::TimedOut : CallOutcome::Failed;
    else if (call.outcome == CallOutcome::Refused &&
             (cause == FailureCause::NotConfigured || cause == FailureCause::Unreachable))
        call.outcome = CallOutcome::Degraded;
}

void count_lookup(shmem::CacheLevel level, bool hit) {
    if (guc::track_calls)
        shmem::segment().calls->count_lookup(pg::my_proc_number(), level, hit);
}

std::uint32_t known(int number) { return static_cast<std::uint32_t>(std::max(number, 0)); }

std::int64_t &stage(CallStage which) { return current.call.stages_us[static_cast<std::size_t>(which)]; }

}  // namespace

void begin(shmem::CallKind kind) {
    watch_transactions();
    end_on_abort();  // a call whose error was caught without the end of a subtransaction
    current.call = kBegun;
    current.call.kind = kind;
    current.prompt_hash = 0;
    current.login = session::login();
    current.start_us = core::monotonic_us();
    current.stopped_us = 0;
    current_model[0] = '\0';
    current.active = true;
}

void login(Oid role) { current.login = role; }

void model(std::string_view name) {
    const std::size_t length = std::min(name.size(), sizeof current_model - 1);
    name.copy(current_model, length);
    current_model[length] = '\0';
}

void prompt(std::string_view text) {
    if (guc::log_min_duration_ms < 0)
        return;
    core::Sha256 &sha256 = *core::Sha256::instance();
    sha256.begin();
    sha256.add(text);
    const core::Digest digest = sha256.finish();
    for (std::size_t i = 0; i < sizeof current.prompt_hash; i++)
        current.prompt_hash = current.prompt_hash << 8 | digest.bytes[i];
}

void missed(shmem::CacheLevel level) { count_lookup(level, false); }

void hit(shmem::CacheLevel level, int tokens) {
    count_lookup(level, true);
    current.call.outcome = CallOutcome::Hit;
    saved(tokens);
}

void joined() { current.call.outcome = CallOutcome::Joined; }

void saved(int tokens) { current.call.saved_tokens = known(tokens); }

void limited() { current.call.outcome = CallOutcome::Limited; }

void sent() { current.call.outcome = CallOutcome::Cancelled; }

void not_sent() { current.call.outcome = CallOutcome::Refused; }

void timed_out() { fail(FailureCause::Timeout); }

void answered(const StageTimes &times) {
    current.call.outcome = CallOutcome::Ok;
    stage(CallStage::Queue) = times.queue_us;
    stage(CallStage::Pool) = times.pool_us;
    stage(CallStage::Network) = times.wire_us;
}

void first_piece(std::int64_t took_us) { stage(CallStage::FirstPiece) = took_us; }

void engine(double engine_ms, int prompt_tokens, int completion_tokens) {
    current.call.prompt_tokens = known(prompt_tokens);
    current.call.completion_tokens = known(completion_tokens);
    if (engine_ms < 0)
        return;
    // A daemon that claims more time than passed is not believed.
    std::int64_t &network_us = stage(CallStage::Network);
    const auto engine_us = static_cast<std::int64_t>(std::min(engine_ms * 1000, static_cast<double>(network_us)));
    stage(CallStage::Engine) = engine_us;
    network_us -= engine_us;
}

void failed(const core::Problem &problem) { fail(cause_of(problem)); }

void fell_back() { current.call.fell_back = true; }

void stop_clock() { current.stopped_us = core::monotonic_us(); }

std::int64_t end() {
    if (!current.active)
        return 0;  // forgotten
    const std::int64_t now_us = core::monotonic_us();
    current.call.took_us = (current.stopped_us > 0 ? current.stopped_us : now_us) - current.start_us;
    count(now_us, true);
    return current.call.took_us;
}

std::int64_t daemon_us() { return last_daemon_us; }

shmem::StatementCounts *tally(shmem::StatementCounts *into) { return std::exchange(tallied, into); }

shmem::StatementCounts workers_so_far() {
    shmem::StatementCounts counts;
    const ParallelNote *note =
        shmem::segment_attached() ? shmem::segment().parallel_notes->of(pg::my_proc_number()) : nullptr;
    if (note == nullptr)
        return counts;
    const auto number = [&](std::size_t i) { return note->ended[i].load(std::memory_order_relaxed); };
    counts.calls = number(0);
    counts.hits = number(1);
    counts.failures = number(2);
    counts.prompt_tokens = number(3);
    counts.completion_tokens = number(4);
    counts.saved_tokens = number(5);
    counts.total_us = static_cast<std::int64_t>(number(6));
    return counts;
}

void forget() { current.active = false; }

void save(SavedCall &call) {
    call.active = current.active;
    call.start_us = current.start_us;
    call.stopped_us = current.stopped_us;
    call.call = current.call;
    call.prompt_hash = current.prompt_hash;
    call.login = current.login;
    strlcpy(call.model, current_model, sizeof call.model);
    current.active = false;
}

void restore(SavedCall &call) {
    current = {call.active, call.start_us, call.stopped_us, call.call, call.prompt_hash, call.login};
    strlcpy(current_model, call.model, sizeof current_model);
    call.active = false;
}

void drop(SavedCall &call) {
    if (!call.active)
        return;
    restore(call);
    end_on_abort();
}

}  // namespace steadytext::session::observe
