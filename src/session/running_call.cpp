// The stages of a call, each in a function: see running_call.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/session/running_call.hpp"
#include "shmem/segment.hpp"
#include "src/core/clock.hpp"
#include "src/guc.hpp"
#include "src/session/ahead.hpp"
#include "src/session/equal_answers.hpp"
#include "src/session/limit_rules.hpp"
#include "src/session/observe.hpp"
#include "src/session/room.hpp"
#include "src/session/statement.hpp"

#include <algorithm>
#include <type_traits>
#include <utility>

namespace steadytext::session {

using shmem::SingleFlight;

namespace {

pg::WaitEvent limit_wait("SteadytextRateLimit");
pg::WaitEvent single_flight_wait("SteadytextSingleFlight");
pg::WaitEvent hub_wait("SteadytextHubLookup");
pg::WaitEvent room_wait("SteadytextRoom");
pg::WaitEvent reply_wait("SteadytextReply");

SingleFlight &single_flight() { return *shmem::segment().single_flight; }
shmem::PayloadPool &pool() { return *shmem::segment().payloads; }
void wake(std::int32_t proc_number) { pg::set_latch_of(proc_number); }
void count(shmem::Counter counter) {
    shmem::segment().counters->add(static_cast<std::uint32_t>(pg::my_proc_number()), counter);
}

void drop_on_error(int, Datum running) { reinterpret_cast<RunningCall *>(DatumGetPointer(running))->drop(); }

}  // namespace

static_assert(std::is_trivially_copyable_v<RunningCall> && std::is_trivially_destructible_v<RunningCall>);

// ---- all stages -----------------------------------------------------------------------------------------------------

// A hit ends in the first step, before there is anything to give back.
void RunningCall::run() {
    if (!step() && has_ended())
        return;
    look_after_flights();
    PG_ENSURE_ERROR_CLEANUP(drop_on_error, PointerGetDatum(this));
    {
        for (advance(); !has_ended() && !(call_->streaming && is_sent()); advance()) {
            ahead::attend();
            (void)pg::wait_until(due_us(), wait_event());
        }
    }
    PG_END_ENSURE_ERROR_CLEANUP(drop_on_error, PointerGetDatum(this));
    turn_away_from_flights();
}

void RunningCall::advance() {
    while (step()) {
    }
}

bool RunningCall::step() {
    switch (stage_) {
    case Stage::LookUp:
        return look_up();
    case Stage::Admit:
        return is_admitted() && go_to(after_admission());
    case Stage::Join:
        return join();
    case Stage::Follow:
        return follow();
    case Stage::AskHub:
        return ask_hub();
    case Stage::Place:
        return place();
    case Stage::Sent:
        return look_at_slot();
    case Stage::Ended:
        break;
    }
    return false;
}

bool RunningCall::go_to(Stage stage) {
    stage_ = stage;
    again_us_ = 0;
    return true;
}

bool RunningCall::can_advance() const {
    switch (stage_) {
    case Stage::Ended:
        return false;
    case Stage::Sent:
        return slot_.is_done() || core::monotonic_us() >= slot_.deadline_us();
    case Stage::Follow:
        return true;
    case Stage::AskHub:
        return ask_.has_news() || core::monotonic_us() >= again_us_;
    case Stage::Place:
        return may_claim() || core::monotonic_us() >= again_us_;
    case Stage::LookUp:
    case Stage::Admit:
    case Stage::Join:
        break;
    }
    return is_woken_ || core::monotonic_us() >= again_us_;
}

pg::WaitEvent &RunningCall::wait_event() const {
    switch (stage_) {
    case Stage::LookUp:
    case Stage::Admit:
        return limit_wait;
    case Stage::Join:
    case Stage::Follow:
        return single_flight_wait;
    case Stage::AskHub:
        return hub_wait;
    case Stage::Place:
        return room_wait;
    case Stage::Sent:
    case Stage::Ended:
        break;
    }
    return reply_wait;
}

bool RunningCall::end(CallResult result) {
    ModelCall &call = *call_;
    Assert(!has_failed(result) || call.problem.is_set());
    const std::int64_t used = is_answered(result) ? call.used_tokens() : call.used_in_vain();
    settle(call.quota, used);
    caps::settle(charge_, used);
    if (is_answered(result) && !group_->asks_ahead)
        statement::note_answer();
    ask_.end(result == CallResult::Answered && is_current(call.query));
    call.result = result;
    stage_ = Stage::Ended;
    return false;
}

// With `problem` set.
bool RunningCall::fail(CallResult result) {
    publish(result, {});
    return end(result);
}

void RunningCall::drop() {
    if (has_ended())
        return;
    const bool is_made = is_sent() || call_->was_sent;  // a daemon may have it
    if (is_sent()) {
        group_->sent--;
        call_->was_sent |= slot_.was_sent();
    }
    leave_line();
    slot_.let_go(shmem::Abandon::Cancelled);
    ask_.end(false);
    leave_flight();
    turn_away_from_flights();  // a wait may have been left by an error
    if (group_->asks_ahead && !call_->was_sent)
        withdraw(call_->quota);
    else
        settle(call_->quota, call_->used_in_vain());
    if (is_made)
        caps::settle(charge_, call_->used_in_vain());
    else
        caps::withdraw(charge_);
    stage_ = Stage::Ended;
}

// ---- limits and cache -----------------------------------------------------------------------------------------------

// Limits are asked before the cache if cached answers count (steadytext.limit_cache_hits), else after it. ANALYZE
// samples thousands of rows: it asks no daemon and charges no limits, and its look into the cache does not count as a
// call.
bool RunningCall::look_up() {
    ModelCall &call = *call_;
    if (statement::is_analyzing()) {
        const bool is_found = recall();
        observe::forget();
        return end(is_found ? CallResult::Recalled : CallResult::Skipped);
    }
    if (guc::limit_cache_hits && !is_admitted())
        return false;
    if (repeats_)
        return end_repeated();
    if (recall() || recall_equal())
        return end(CallResult::Recalled);
    if (!is_within_caps())
        return false;
    request_ = call.prepare();
    request_.spending = &call.spending;
    request_.quota = &call.quota;
    request_.is_background = is_job();
    return go_to(guc::limit_cache_hits ? after_admission() : Stage::Admit);
}

// The caps of the statement; jobs of the queue are of none.
bool RunningCall::is_within_caps() {
    ModelCall &call = *call_;
    if (is_job() || caps::charge(call.spending, charge_))
        return true;
    if (!group_->asks_ahead) {
        caps::refuse(call.spending, call.quota);
        return true;
    }
    if (caps::has_let_go())
        return true;
    withdraw(call.quota);
    return end(CallResult::Limited);
}

bool RunningCall::recall() {
    if (!call_->use_cache)
        return false;
    CachedAnswer found;
    const bool hit =
        (session::recall(call_->query, found) || call_->recall_original(found)) && call_->accept_cached(found);
    note_lookup(hit);
    return hit;
}

// An equal call of the statement has the answer: it is counted as one whose request another call has made.
bool RunningCall::recall_equal() {
    CachedAnswer found;
    if (!EqualAnswers::recall(*call_, found) || !call_->accept_cached(found))
        return false;
    observe::joined();
    return true;
}

// False if the call has to wait for a limit, or was refused.
bool RunningCall::is_admitted() {
    if (limit_rules().count == 0)
        return true;
    ModelCall &call = *call_;
    if (group_->asks_ahead) {
        if (!admit_ahead(call.spending, call.quota))
            return end(CallResult::Limited);  // it is made in its turn instead
        outlive_transaction(call.quota);
        return true;
    }
    Refusal refusal;
    const Admission result = admit(call.spending, call.quota, group_->sent > 0, call.deadline, again_us_, refusal);
    is_woken_ = result == Admission::WhenWoken;
    switch (result) {
    case Admission::Admitted:
        if (group_->outlives_transactions)
            outlive_transaction(call.quota);
        return true;
    case Admission::Refused:
        call.problem = refusal.problem;
        call.limit_wait_us = refusal.wait_us;
        return end(CallResult::Limited);
    case Admission::AfterOthers:
        call.deadline.begin_anew();  // the other calls have deadlines of their own
        break;
    case Admission::WhenWoken:
    case Admission::Later:
        if (!std::exchange(has_waited_, true))
            count(shmem::Counter::LimitWaits);
        break;
    }
    again_us_ = std::max(again_us_, core::monotonic_us() + group_->least_pause_us);
    return false;
}

bool RunningCall::end_repeated() {
    settle(call_->quota, 0);
    observe::joined();
    call_->result = first_;
    stage_ = Stage::Ended;
    return false;
}

// ---- a single request for all sessions that ask the same (shmem/single_flight.hpp) ----------------------------------

bool RunningCall::join() {
    switch (single_flight().join(flight_key(call_->query, room::claimant(request_).role), pg::my_proc_number(),
                                 core::monotonic_us(), ticket_)) {
    case SingleFlight::Role::Leader:
        return lead();
    case SingleFlight::Role::Waiter:
        count(shmem::Counter::SingleFlightJoins);
        observe::joined();
        return go_to(Stage::Follow);
    case SingleFlight::Role::Alone:
        return go_to(Stage::Place);
    case SingleFlight::Role::Led:
        break;
    }
    // Another session leads this key, and this session leads other keys: if both followed, both would wait for ever.
    // The answer will be in the cache.
    constexpr std::int64_t kLookAgainUs = 5'000;
    again_us_ = core::monotonic_us() + kLookAgainUs;
    return fail_if_late();
}

// A leader before this session may have ended since LookUp: then the answer is in the cache. An answer of no use there
// is asked for.
bool RunningCall::lead() {
    CachedAnswer found;
    if (!recall_hot(call_->query, found) || !call_->accept_cached(found))
        return go_to(Stage::AskHub);
    observe::joined();
    publish(CallResult::Answered, found);
    return end(CallResult::Answered);
}

// An answer of the hub costs what one of the cache costs.
bool RunningCall::ask_hub() {
    switch (ask_.advance(call_->query, call_->deadline.us(), again_us_)) {
    case HubAsk::Outcome::Waits:
        return fail_if_late();
    case HubAsk::Outcome::Nothing:
        return go_to(Stage::Place);
    case HubAsk::Outcome::Look: {
        CachedAnswer brought;
        return recall_again(call_->query, brought) && call_->accept_cached(brought) ? end_recalled(brought)
                                                                                    : fail_if_late();
    }
    case HubAsk::Outcome::Found:
        break;
    }
    CachedAnswer found;
    if (!ask_.take(call_->query, found) || !call_->accept_from_hub(found))
        return go_to(Stage::Place);
    call_->query.is_from_hub = true;
    call_->keep_from_hub(found);
    return end_recalled(found);
}

bool RunningCall::end_recalled(const CachedAnswer &found) {
    withdraw(call_->quota);
    caps::withdraw(charge_);
    observe::joined();
    publish(CallResult::Answered, found);
    return end(CallResult::Recalled);
}

bool RunningCall::follow() {
    switch (single_flight().poll(ticket_)) {
    case SingleFlight::Progress::Lead:
        return lead();
    case SingleFlight::Progress::Answered:
        return call_->accept_cached(take_published()) ? end(CallResult::Answered) : go_to(Stage::Place);
    case SingleFlight::Progress::Failed:
        call_->problem = single_flight().problem(ticket_);
        leave_flight();
        return end(CallResult::Failed);
    case SingleFlight::Progress::Pending:
    case SingleFlight::Progress::None:
        break;
    }
    // The leader sets the latch, unless it looks after something else.
    const std::int64_t now_us = core::monotonic_us();
    if (single_flight().is_abandoned(ticket_, now_us)) {
        leave_flight();
        return go_to(Stage::Join);
    }
    again_us_ = std::min(call_->deadline.us(), now_us + SingleFlight::kPatienceUs);
    return fail_if_late();
}

bool RunningCall::fail_if_late() {
    if (core::monotonic_us() < call_->deadline.us())
        return false;
    observe::timed_out();
    call_->problem.set(core::sqlstate::kTimeoutExpired, "no answer within %d ms", guc::request_timeout_ms);
    call_->problem.with_detail("Another session had asked the same before and was still waiting.")
        .with_hint("Raise steadytext.request_timeout, or look at steadytext_daemon_status().");
    return fail(CallResult::TimedOut);
}

// A result that concerns this session alone (its deadline, its limits, another model) is not published: a follower
// leads then.
void RunningCall::publish(CallResult result, const CachedAnswer &answer) {
    if (ticket_.is_empty())
        return;
    if (result == CallResult::Answered)
        single_flight().complete(ticket_, pack(answer), pool(), wake);
    else if (result == CallResult::Failed)
        single_flight().fail(ticket_, call_->problem, pool(), wake);
    else
        return leave_flight();
    room::call_next();  // if all followers have left, the memory of the answer is free
}

CachedAnswer RunningCall::take_published() {
    CachedAnswer answer;
    const std::size_t size = single_flight().size(ticket_);
    char *bytes = static_cast<char *>(palloc_extended(std::max<std::size_t>(size, 1), MCXT_ALLOC_HUGE));
    if (!single_flight().take(ticket_, bytes, pool()) || !unpack(call_->query.kind, {bytes, size}, answer))
        elog(ERROR, "an answer in shared memory is damaged");
    room::call_next();  // the last follower frees the memory of the answer
    return answer;
}

void RunningCall::leave_flight() {
    if (ticket_.is_empty())
        return;
    single_flight().leave(ticket_, pool(), wake);
    room::call_next();
}

void RunningCall::look_after_flights() { single_flight().look_after(pg::my_proc_number()); }
void RunningCall::turn_away_from_flights() { single_flight().turn_away(pg::my_proc_number(), core::monotonic_us()); }

// ---- room in shared memory ------------------------------------------------------------------------------------------

// No call of this group is in line; or this call is, and its turn may have come.
bool RunningCall::may_claim() const {
    return group_->in_line == nullptr || (group_->in_line == call_ && room::is_called());
}

// Without room, the call stands in line for its whole group: a session has a single place.
bool RunningCall::place() {
    request_.deadline_us = call_->deadline.us();
    const bool is_in_line = group_->in_line == call_;
    if (is_in_line ? room::take_call() : group_->in_line == nullptr && !room::others_wait()) {
        const PendingSlot::Submitted submitted = slot_.submit(request_, call_->problem);
        if (submitted != PendingSlot::Submitted::NoRoom)
            leave_line();
        if (submitted == PendingSlot::Submitted::Refused)
            return fail(CallResult::Failed);
        if (submitted == PendingSlot::Submitted::Yes) {
            pfree(const_cast<char *>(request_.params.data()));  // the slot has it
            request_.params = {};
            group_->sent++;
            stage_ = Stage::Sent;
            return false;
        }
    }
    const bool is_late = core::monotonic_us() >= request_.deadline_us;
    if (is_late || room::can_never_be(request_)) {
        leave_line();
        room::refuse(request_, call_->problem);
        return fail(is_late ? CallResult::TimedOut : CallResult::Failed);
    }
    stand_in_line();
    return false;
}

void RunningCall::stand_in_line() {
    constexpr std::int64_t kLookAnywayUs = 1'000'000;
    if (group_->in_line == nullptr) {
        group_->in_line = call_;
        room::join_line(request_);
    }
    if (group_->in_line == call_)
        room::call_next();
    again_us_ = std::min(request_.deadline_us, core::monotonic_us() + kLookAnywayUs);
}

void RunningCall::leave_line() {
    if (group_->in_line != call_)
        return;
    group_->in_line = nullptr;
    room::leave_line();
}

// ---- at the gateway -------------------------------------------------------------------------------------------------

bool RunningCall::look_at_slot() {
    if (call_->streaming)
        return false;  // generation_stream.cpp looks at the pieces
    if (slot_.is_done())
        end_sent(slot_.take_answer());
    else if (core::monotonic_us() >= slot_.deadline_us())
        end_sent(slot_.timed_out());
    else
        return false;
    return !has_ended();
}

void RunningCall::end_sent(const Answer &answer) {
    slot_.let_go(answer.result == CallResult::TimedOut ? shmem::Abandon::TimedOut : shmem::Abandon::Cancelled);
    group_->sent--;
    stage_ = Stage::Place;  // there is no slot to give back any more
    call_->was_sent |= answer.was_sent;
    call_->queue_ms = answer.queue_ms;
    (void)accept(answer);
}

bool RunningCall::accept(const Answer &answer) {
    ModelCall &call = *call_;
    if (answer.result == CallResult::Answered) {
        CachedAnswer shared;
        const CallResult result = call.accept(answer, shared);
        if (is_answered(result))
            EqualAnswers::keep(call, shared);
        publish(result, shared);
        return end(result);
    }
    if (begin_again(answer))
        return true;
    call.problem = answer.problem;
    if (answer.result != CallResult::Limited)
        return fail(answer.result);
    call.limit_wait_us = answer.limit_wait_us;
    leave_flight();  // a follower may have other limits
    refuse_after_all(call.quota, call.problem);
    return end(CallResult::Limited);
}

// The model was served when the call chose it, as far as was known. Followers choose for themselves, and the limits of
// another model may be others. The deadline stays.
bool RunningCall::begin_again(const Answer &answer) {
    if (!answer.is_unserved || core::monotonic_us() >= call_->deadline.us() || !call_->choose_again())
        return false;
    ask_.end(false);
    leave_flight();
    withdraw(call_->quota);
    return go_to(Stage::LookUp);
}

// ---- a single call --------------------------------------------------------------------------------------------------

void run(ModelCall &call) {
    CallGroup alone;
    RunningCall(call, alone).run();
}

void run_repeated(ModelCall &call, CallResult first) {
    CallGroup alone;
    RunningCall running(call, alone);
    running.repeat(first);
    running.run();
    if (has_failed(call.result)) {
        observe::failed(call.problem);
        observe::fell_back();
    }
    call.took_us = observe::end();
}

}  // namespace steadytext::session
