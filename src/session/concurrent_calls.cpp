// Many entries, a single latch: see concurrent_calls.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/session/concurrent_calls.hpp"
#include "shmem/segment.hpp"
#include "src/core/clock.hpp"
#include "src/guc.hpp"
#include "src/session/room.hpp"

#include <algorithm>
#include <new>

namespace steadytext::session {

namespace {

// The number of calls that the daemons that answer now work on at once, and half as many again, so that no
// daemon waits for this session. `is_beside_others`: jobs, while others have requests under way. A native daemon gives
// these the greater part of its time, so more jobs than a third as many would only wait there until their deadlines.
std::uint32_t daemons_window(bool embeds, bool is_beside_others) {
    constexpr std::uint32_t kUntold = 16;
    std::uint32_t window = 0;
    for (const shmem::DaemonRow &row : shmem::segment().daemons->rows) {
        shmem::DaemonIdentity identity;
        if (row.state.load(std::memory_order_relaxed) != shmem::DaemonState::Ready || !row.identity.load(identity))
            continue;
        const bool is_serial =
            identity.kind == shmem::DaemonKind::Serial || identity.kind == shmem::DaemonKind::Unknown;
        const std::uint32_t told = identity.slots > 0 ? identity.slots : kUntold;
        const std::uint32_t at_once = is_serial ? static_cast<std::uint32_t>(guc::pool_size)
                                                : std::min(told, shmem::segment().slots->size()) * 3 / 2;
        const bool is_shared = is_beside_others && identity.kind == shmem::DaemonKind::Native;
        const std::uint32_t wanted = is_shared ? std::max(at_once / 3, 1U) : at_once;
        window += embeds ? wanted * identity.batch : wanted;
    }
    return window > 0 ? window : kUntold;
}

}  // namespace

ConcurrentCalls *ConcurrentCalls::make(std::uint32_t most, bool embeds) {
    constexpr std::int64_t kAskLimitsEveryUs = 20'000;
    auto *calls = new (palloc(sizeof(ConcurrentCalls))) ConcurrentCalls;
    calls->embeds_ = embeds;
    calls->group_.least_pause_us = kAskLimitsEveryUs;
    // At most half of the slots: other sessions have requests too.
    calls->most_ = std::clamp(shmem::segment().slots->size() / 2, 1U, most);
    calls->entries_ = static_cast<Entry *>(palloc(calls->most_ * sizeof(Entry)));
    return calls;
}

std::uint32_t ConcurrentCalls::room() {
    constexpr std::int64_t kLookEveryUs = 100'000, kLatelyUs = 1'000'000;
    if (const std::int64_t now_us = core::monotonic_us(); now_us >= look_at_daemons_us_) {
        look_at_daemons_us_ = now_us + kLookEveryUs;
        const bool are_jobs = group_.outlives_transactions && !group_.asks_ahead;
        if (are_jobs && shmem::segment().slots->in_use() > group_.sent)
            beside_others_until_us_ = now_us + kLatelyUs;
        window_ = daemons_window(embeds_, now_us < beside_others_until_us_);
    }
    return std::min(most_, window_);
}

void ConcurrentCalls::start(ModelCall *call) {
    Entry &entry =
        *new (&entries_[count_++]) Entry{RunningCall(*call, group_), CurrentMemoryContext, InvalidOid, 0, {}};
    GetUserIdAndSecContext(&entry.user, &entry.security);
    observe::save(entry.saved);
    RunningCall::turn_away_from_flights();  // as of now: the next wait may be long in coming
    advance(entry);
}

// Looks at each entry once until it returns null. A call that ends behind it sets the latch.
ModelCall *ConcurrentCalls::take_ended() {
    while (looked_at_ < count_) {
        Entry &entry = entries_[looked_at_];
        advance(entry);
        if (!entry.running.has_ended()) {
            looked_at_++;
            continue;
        }
        ModelCall *call = &entry.running.call();
        observe::restore(entry.saved);
        entry = entries_[--count_];
        return call;
    }
    looked_at_ = 0;
    return nullptr;
}

void ConcurrentCalls::wait(std::int64_t most_us) {
    static pg::WaitEvent waiting("SteadytextReply");
    std::int64_t until_us = core::monotonic_us() + std::min<std::int64_t>(most_us, 1'000'000);
    for (std::uint32_t i = 0; i < count_; i++) {
        const RunningCall &running = entries_[i].running;
        if (running.is_ready())
            return;
        until_us = std::min(until_us, running.due_us());
    }
    RunningCall::look_after_flights();
    pg::sleep_until(until_us, waiting);
    RunningCall::turn_away_from_flights();
    CHECK_FOR_INTERRUPTS();
}

void ConcurrentCalls::leave_line() {
    if (group_.in_line == nullptr)
        return;
    group_.in_line = nullptr;
    room::leave_line();
}

void ConcurrentCalls::give_up() {
    while (count_ > 0)
        drop(entries_[count_ - 1]);
}

void ConcurrentCalls::give_up(const ModelCall *call) {
    for (std::uint32_t i = 0; i < count_; i++)
        if (&entries_[i].running.call() == call)
            return drop(entries_[i]);
}

ModelCall *ConcurrentCalls::take_broken() {
    if (moving_ == nullptr)
        return nullptr;
    ModelCall *call = &moving_->running.call();
    drop(*moving_);
    moving_ = nullptr;
    return call;
}

// The last entry takes its place.
void ConcurrentCalls::drop(Entry &entry) {
    entry.running.drop();
    observe::drop(entry.saved);
    entry = entries_[--count_];
    looked_at_ = 0;
}

// Advances the call as the role, and in the memory context, that it was started with. Meanwhile observe::
// counts for this call.
void ConcurrentCalls::advance(Entry &entry) {
    if (!entry.running.can_advance())
        return;
    MemoryContext caller = MemoryContextSwitchTo(entry.memory);
    Oid user;
    int security;
    GetUserIdAndSecContext(&user, &security);
    SetUserIdAndSecContext(entry.user, entry.security);
    observe::restore(entry.saved);
    moving_ = &entry;
    if (watcher_ != nullptr)
        watcher_(&entry.running.call());
    entry.running.advance();
    moving_ = nullptr;
    if (watcher_ != nullptr)
        watcher_(nullptr);
    observe::save(entry.saved);
    SetUserIdAndSecContext(user, security);
    MemoryContextSwitchTo(caller);
}

}  // namespace steadytext::session
