// Each call a small state machine, moved on whenever something may have changed: see many_calls.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/session/many_calls.hpp"
#include "shmem/segment.hpp"
#include "src/core/clock.hpp"
#include "src/guc.hpp"
#include "src/session/room.hpp"
#include "src/session/statement.hpp"

#include <algorithm>
#include <new>

namespace steadytext::session {

using shmem::SingleFlight;

namespace {

constexpr std::int64_t kLookAgainUs = 5'000;  // at what nobody tells of: a key others lead, a slot others hold
constexpr std::int64_t kNever = INT64_MAX;

// What the daemons that answer now work on at once, and half as much again, so that none of them waits for this session.
std::uint32_t daemons_window(bool embeds) {
    constexpr std::uint32_t kUntold = 16;
    std::uint32_t window = 0;
    for (const shmem::DaemonRow &row : shmem::segment().daemons->rows) {
        shmem::DaemonIdentity identity;
        if (row.state.load(std::memory_order_relaxed) != shmem::DaemonState::Ready || !row.identity.load(identity))
            continue;
        const bool is_serial = identity.kind == shmem::DaemonKind::Serial || identity.kind == shmem::DaemonKind::Unknown;
        const std::uint32_t told = identity.slots > 0 ? identity.slots : kUntold;
        const std::uint32_t at_once = is_serial ? static_cast<std::uint32_t>(guc::pool_size) : std::min(told, shmem::segment().slots->size()) * 3 / 2;
        window += embeds ? at_once * identity.batch : at_once;
    }
    return window > 0 ? window : kUntold;
}

}  // namespace

ManyCalls *ManyCalls::make(std::uint32_t most, bool embeds) {
    auto *calls = new (palloc(sizeof(ManyCalls))) ManyCalls;
    calls->embeds_ = embeds;
    // Half of the slots at most: others have requests too.
    calls->most_ = std::clamp(shmem::segment().slots->size() / 2, 1U, most);
    calls->entries_ = static_cast<Entry *>(palloc(calls->most_ * sizeof(Entry)));
    return calls;
}

std::uint32_t ManyCalls::room() {
    constexpr std::int64_t kLookEveryUs = 100'000;
    if (const std::int64_t now_us = core::monotonic_us(); now_us >= look_at_daemons_us_) {
        look_at_daemons_us_ = now_us + kLookEveryUs;
        window_ = daemons_window(embeds_);
    }
    return std::min(most_, window_);
}

void ManyCalls::start(Inquiry *inquiry) {
    Entry &entry = *new (&entries_[count_++]) Entry{};
    entry.inquiry = inquiry;
    entry.memory = CurrentMemoryContext;
    GetUserIdAndSecContext(&entry.user, &entry.security);
    observe::lay_aside(entry.aside);
    advance(entry);
}

// One look at each until it returns null; what ends behind it sets the latch.
Inquiry *ManyCalls::take_ended() {
    while (looked_at_ < count_) {
        Entry &entry = entries_[looked_at_];
        advance(entry);
        if (entry.stage != Stage::Ended) {
            looked_at_++;
            continue;
        }
        Inquiry *inquiry = entry.inquiry;
        observe::take_up(entry.aside);
        entry = entries_[--count_];
        return inquiry;
    }
    looked_at_ = 0;
    return nullptr;
}

void ManyCalls::wait(std::int64_t most_us) {
    static uint32 waiting = 0;
    if (waiting == 0)
        waiting = pg::wait_event("SteadytextReply");
    const std::int64_t now_us = core::monotonic_us();
    std::int64_t until_us = now_us + std::min<std::int64_t>(most_us, 1'000'000);
    for (std::uint32_t i = 0; i < count_; i++) {
        const Entry &entry = entries_[i];
        if (entry.stage == Stage::Ended || (entry.stage == Stage::Send && in_line_ == nullptr))
            return;  // there is something to do
        until_us = std::min(until_us, entry.stage == Stage::Flying ? entry.held.deadline_us : entry.again_us);
    }
    const long left_ms = static_cast<long>((std::max<std::int64_t>(until_us - now_us, 0) + 999) / 1000);
    (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, left_ms, waiting);
    ResetLatch(MyLatch);
    CHECK_FOR_INTERRUPTS();
}

void ManyCalls::give_up() {
    while (count_ > 0)
        drop(entries_[count_ - 1]);
    flying_ = 0;
}

void ManyCalls::give_up(const Inquiry *inquiry) {
    for (std::uint32_t i = 0; i < count_; i++)
        if (entries_[i].inquiry == inquiry)
            return drop(entries_[i]);
}

Inquiry *ManyCalls::take_broken() {
    if (moving_ == nullptr)
        return nullptr;
    Inquiry *inquiry = moving_->inquiry;
    drop(*moving_);
    moving_ = nullptr;
    return inquiry;
}

// The last one takes its place.
void ManyCalls::drop(Entry &entry) {
    if (entry.stage == Stage::Flying)
        flying_--;
    leave_line(entry);
    let_go(entry.held, shmem::Abandon::Cancelled);
    leave(entry.ticket);
    settle(entry.inquiry->quota, kUnknownTokens);
    observe::drop(entry.aside);
    entry = entries_[--count_];
    looked_at_ = 0;
}

// ---- one call ----------------------------------------------------------------------------------------------------------

void ManyCalls::advance(Entry &entry) {
    if (entry.stage == Stage::Ended || (entry.stage == Stage::Flying && !is_done(entry.held) &&
                                        core::monotonic_us() < entry.held.deadline_us))
        return;
    if (entry.stage != Stage::Flying && core::monotonic_us() < entry.again_us && entry.stage != Stage::Follow && !may_be_sent(entry))
        return;
    MemoryContext caller = MemoryContextSwitchTo(entry.memory);
    Oid user;
    int security;
    GetUserIdAndSecContext(&user, &security);
    SetUserIdAndSecContext(entry.user, entry.security);
    observe::take_up(entry.aside);
    entry.again_us = 0;
    moving_ = &entry;
    if (watcher_ != nullptr)
        watcher_(entry.inquiry);
    while (entry.stage != Stage::Ended && step(entry)) {
    }
    moving_ = nullptr;
    if (watcher_ != nullptr)
        watcher_(nullptr);
    observe::lay_aside(entry.aside);
    SetUserIdAndSecContext(user, security);
    MemoryContextSwitchTo(caller);
}

bool ManyCalls::step(Entry &entry) {
    switch (entry.stage) {
    case Stage::Lookup:
        return step_lookup(entry);
    case Stage::Miss:
        return step_miss(entry);
    case Stage::Join:
        return step_join(entry);
    case Stage::Follow:
        return step_follow(entry);
    case Stage::Send:
        return step_send(entry);
    case Stage::Flying:
        return step_flying(entry);
    case Stage::Ended:
        break;
    }
    return false;
}

bool ManyCalls::step_lookup(Entry &entry) {
    Inquiry &inquiry = *entry.inquiry;
    if (guc::limit_cache_hits && !admit(entry))
        return false;
    if (inquiry.use_cache && inquiry.recall()) {
        settle(inquiry.quota, inquiry.used_tokens());
        end(entry, Ended::Recalled);
        return false;
    }
    inquiry.before_asking();
    entry.stage = Stage::Miss;
    return true;
}

bool ManyCalls::step_miss(Entry &entry) {
    if (!guc::limit_cache_hits && !admit(entry))
        return false;
    entry.stage = entry.inquiry->use_cache ? Stage::Join : Stage::Send;
    return true;
}

bool ManyCalls::admit(Entry &entry) {
    Inquiry &inquiry = *entry.inquiry;
    Refusal refusal;
    switch (admit_or_later(inquiry.spending, inquiry.quota, has_others(), inquiry.deadline.us(), entry.again_us, refusal)) {
    case Admission::Admitted:
        if (outlives_)
            outlive_transaction(inquiry.quota);
        return true;
    case Admission::AfterOthers:
        inquiry.deadline.begin_anew();  // it waits for its own session's calls, which have deadlines of their own
        return false;
    case Admission::Later:
        return false;
    case Admission::Refused:
        inquiry.problem = refusal.problem;
        inquiry.limit_wait_us = refusal.wait_us;
        end(entry, Ended::Limited);
        return false;
    }
    return false;
}

bool ManyCalls::step_join(Entry &entry) {
    SingleFlight &flights = *shmem::segment().single_flight;
    switch (flights.join(flight_key(entry.inquiry->query), pg::my_proc_number(), entry.ticket)) {
    case SingleFlight::Role::Leader:
        lead(entry);
        return true;
    case SingleFlight::Role::Alone:
        entry.stage = Stage::Send;
        return true;
    case SingleFlight::Role::Waiter:
        observe::joined();
        shmem::segment().counters->add(static_cast<std::uint32_t>(pg::my_proc_number()), shmem::Counter::SingleFlightJoins);
        entry.stage = Stage::Follow;
        return true;
    case SingleFlight::Role::Led:
        break;
    }
    // Another session has it in hand, and this one leads others. What it will be is seen in the cache.
    if (core::monotonic_us() >= entry.inquiry->deadline.us()) {
        set_waited_too_long(entry.inquiry->problem);
        settle(entry.inquiry->quota, 0);
        end(entry, Ended::Failed);
        return false;
    }
    entry.again_us = core::monotonic_us() + kLookAgainUs;
    return false;
}

// What has been asked for in the meantime is there.
void ManyCalls::lead(Entry &entry) {
    CachedAnswer told;
    if (!ended_meanwhile(entry.ticket, entry.inquiry->query, told) || !entry.inquiry->take_told(told)) {
        entry.stage = Stage::Send;
        return;
    }
    settle(entry.inquiry->quota, entry.inquiry->used_tokens());
    end(entry, Ended::Answered);
}

bool ManyCalls::step_follow(Entry &entry) {
    SingleFlight &flights = *shmem::segment().single_flight;
    Inquiry &inquiry = *entry.inquiry;
    CachedAnswer told;
    switch (flights.poll(entry.ticket)) {
    case SingleFlight::Progress::Lead:
        lead(entry);
        return true;
    case SingleFlight::Progress::Answered:
        take_told(entry.ticket, inquiry.query.kind, told);
        if (inquiry.take_told(told)) {
            settle(inquiry.quota, inquiry.used_tokens());
            end(entry, Ended::Answered);
            return false;
        }
        break;
    case SingleFlight::Progress::Failed:
        inquiry.problem = flights.problem(entry.ticket);
        break;
    case SingleFlight::Progress::Pending:
    case SingleFlight::Progress::None:
        if (core::monotonic_us() < inquiry.deadline.us()) {
            entry.again_us = inquiry.deadline.us();  // the leader sets the latch
            return false;
        }
        set_waited_too_long(inquiry.problem);
        break;
    }
    leave(entry.ticket);
    settle(inquiry.quota, 0);
    end(entry, Ended::Failed);
    return false;
}

// Of a call that waits to be sent: no other of this session's is in line, or it is this one and its turn has come.
bool ManyCalls::may_be_sent(const Entry &entry) const {
    return entry.stage == Stage::Send && (in_line_ == nullptr || (in_line_ == entry.inquiry && room::is_called()));
}

// With no room for it in shared memory it stands in line, for all of this session's: the session has one place.
bool ManyCalls::step_send(Entry &entry) {
    constexpr std::int64_t kLookAnyway = 1'000'000;
    Inquiry &inquiry = *entry.inquiry;
    const bool is_first = in_line_ == nullptr;
    const bool is_mine = in_line_ == entry.inquiry;
    const Call call = inquiry.limited_call();
    core::Problem problem;
    if (is_mine ? room::take_call() : is_first && !room::others_wait()) {
        const Submitted submitted = submit_now(call, entry.held, problem);
        if (submitted == Submitted::Yes) {
            leave_line(entry);
            flying_++;
            entry.stage = Stage::Flying;
            return false;
        }
        if (submitted == Submitted::Refused)
            return refuse(entry, problem, false);
    }
    const std::int64_t now_us = core::monotonic_us();
    if (room::can_never_be(call) || now_us >= call.deadline_us) {
        room::refuse(call, problem);
        return refuse(entry, problem, now_us >= call.deadline_us);
    }
    if (is_first) {
        in_line_ = entry.inquiry;
        room::join_line(call);
    }
    if (in_line_ == entry.inquiry)
        room::call_next();
    entry.again_us = std::min(call.deadline_us, now_us + kLookAnyway);
    return false;
}

bool ManyCalls::refuse(Entry &entry, const core::Problem &problem, bool timed_out) {
    leave_line(entry);
    Answer none{};
    none.problem = problem;
    none.timed_out = timed_out;
    take(entry, none);
    return false;
}

void ManyCalls::leave_line(const Entry &entry) {
    if (in_line_ != entry.inquiry)
        return;
    in_line_ = nullptr;
    room::leave_line();
}

bool ManyCalls::step_flying(Entry &entry) {
    Answer answer;
    if (is_done(entry.held))
        take_answer(entry.held, answer);
    else
        set_timed_out(entry.held, answer);
    let_go(entry.held, shmem::Abandon::TimedOut);
    flying_--;
    entry.stage = Stage::Send;
    take(entry, answer);
    return false;
}

void ManyCalls::take(Entry &entry, const Answer &answer) {
    Inquiry &inquiry = *entry.inquiry;
    CachedAnswer told;
    inquiry.was_sent |= answer.was_sent;
    if (answer.limited) {
        tell(entry.ticket, Asked::Limited, told, answer.problem);
        refuse_after_all(inquiry.quota, answer.problem);
        inquiry.problem = answer.problem;
        inquiry.limit_wait_us = answer.limit_wait_us;
        return end(entry, Ended::Limited);
    }
    const Asked asked = inquiry.take(answer, told);
    tell(entry.ticket, asked, told, inquiry.problem);
    const bool answered = asked == Asked::Answered || asked == Asked::Private;
    settle(inquiry.quota, answered ? inquiry.used_tokens() : inquiry.used_in_vain());
    end(entry, answered ? Ended::Answered : Ended::Failed);
}

void ManyCalls::end(Entry &entry, Ended ended) {
    entry.inquiry->ended = ended;
    if (is_answered(ended))
        statement::note_answer();
    entry.stage = Stage::Ended;
}

}  // namespace steadytext::session
