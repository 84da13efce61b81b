// Claim, publish, wait, take: see call.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/session/call.hpp"
#include "src/core/clock.hpp"
#include "src/guc.hpp"
#include "src/pg/boundary.hpp"
#include "src/session/keeper_call.hpp"
#include "src/session/observe.hpp"
#include "src/session/room.hpp"

#include <algorithm>

namespace steadytext::session {

using shmem::Counter;
using shmem::Outcome;

namespace {

std::uint32_t my_shard() { return static_cast<std::uint32_t>(pg::my_proc_number()); }

void let_go_on_error(int, Datum argument) {
    let_go(*reinterpret_cast<Held *>(DatumGetPointer(argument)), shmem::Abandon::Cancelled);
}

shmem::DaemonLimits limits_at_daemons;  // of the call that is being submitted

// All that may raise or refuse, before there is a slot to lose.
bool prepare(const Call &call, Held &held, core::Problem &problem) {
    want_health();
    if (!shmem::segment().header->gateway_registered) {
        problem.set(core::sqlstate::kPrerequisiteState, "the pg_steadytext gateway does not run");
        problem.with_detail("No background worker was free for it when the server started.")
            .with_hint("Raise max_worker_processes and restart the server.");
        return false;
    }
    held.published = false;
    held.quota = call.quota;
    held.start_us = core::monotonic_us();
    held.deadline_us = call.deadline_us;
    return bind_at_daemons(*call.spending, limits_at_daemons, problem);
}

// Fills the claimed slot, which has its request already, and gives it to the gateway.
void publish(const Call &call, Held &held) {
    const shmem::Segment &segment = shmem::segment();
    shmem::Slot &slot = (*segment.slots)[held.id.index];
    slot.operation = call.operation;
    slot.streaming = call.streaming;
    const std::size_t length = std::min(call.model.size(), sizeof slot.model - 1);
    call.model.copy(slot.model, length);
    slot.model[length] = '\0';
    slot.submitted_us = held.start_us;
    slot.deadline_us.store(held.deadline_us, std::memory_order_relaxed);
    slot.limits = limits_at_daemons;
    slot.first_piece_us = 0;
    slot.rest_bytes = 0;
    held.published = true;
    segment.slots->publish(held.id);
    observe::sent();
    point_at(held);
}

// True when the gateway has completed the slot, false when the deadline has passed.
bool wait(const Held &held) {
    while (!is_done(held))
        if (!sleep_until_woken(held.deadline_us))
            return false;
    return true;
}

}  // namespace

bool submit(const Call &call, Held &held, core::Problem &problem) {
    if (!prepare(call, held, problem) || !room::wait_for(call, held.id, problem))
        return false;
    publish(call, held);
    return true;
}

Submitted submit_now(const Call &call, Held &held, core::Problem &problem) {
    if (!prepare(call, held, problem))
        return Submitted::Refused;
    if (room::claim(call, held.id) != room::Lack::None)
        return Submitted::NoRoom;
    publish(call, held);
    return Submitted::Yes;
}

void point_at(const Held &held) {
    const shmem::Segment &segment = shmem::segment();
    (void)segment.ring->push(held.id.index);  // a full ring costs one sweep of the gateway
    pg::set_latch_of(segment.header->gateway.proc_number.load(std::memory_order_relaxed));
}

bool sleep_until_woken(std::int64_t deadline_us) {
    static uint32 waiting = 0;
    if (waiting == 0)
        waiting = pg::wait_event("SteadytextReply");
    return sleep_until_woken(deadline_us, waiting);
}

bool sleep_until_woken(std::int64_t deadline_us, uint32 waiting) {
    const std::int64_t left_us = deadline_us - core::monotonic_us();
    if (left_us <= 0)
        return false;
    // A gateway that was restarted finds the slot by its sweep; looking up once a second costs nothing.
    const long left_ms = std::min<std::int64_t>((left_us + 999) / 1000, 1000);
    (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, left_ms, waiting);
    ResetLatch(MyLatch);
    CHECK_FOR_INTERRUPTS();
    return true;
}

bool is_done(const Held &held) { return shmem::segment().slots->is_done(held.id); }
bool pin(const Held &held) { return shmem::segment().slots->pin(held.id); }
void unpin(const Held &held) { shmem::segment().slots->unpin(held.id); }

bool was_sent(const Held &held) {
    const shmem::Segment &segment = shmem::segment();
    const std::int64_t sent_us = (*segment.slots)[held.id.index].sent_us.load(std::memory_order_relaxed);
    return sent_us != 0 || segment.slots->generation(held.id.index) != held.id.generation;
}

bool extend(Held &held) {
    if (!pin(held))
        return false;
    held.deadline_us = deadline_from_now();
    (*shmem::segment().slots)[held.id.index].deadline_us.store(held.deadline_us, std::memory_order_relaxed);
    unpin(held);
    return true;
}

// Pinned from here until it is let go.
void take_answer(const Held &held, Answer &answer) {
    const shmem::Segment &segment = shmem::segment();
    if (!pin(held))
        return set_timed_out(held, answer);
    const shmem::Slot &slot = (*segment.slots)[held.id.index];
    answer = Answer{};
    answer.daemon = slot.daemon;
    answer.daemon_tenure = slot.daemon_tenure;
    const std::int64_t sent_us = slot.sent_us.load(std::memory_order_relaxed);
    answer.was_sent = sent_us != 0;
    answer.queue_ms = sent_us == 0 ? 0 : static_cast<double>(sent_us - slot.submitted_us) / 1000;
    answer.total_ms = static_cast<double>(core::monotonic_us() - held.start_us) / 1000;
    answer.answered = slot.outcome == Outcome::Answered;
    answer.limited = slot.outcome == Outcome::Limited;
    add_charges(*held.quota, slot.limits);
    if (answer.limited) {
        describe_refusal(slot.limits, answer.problem);
        answer.limit_wait_us = slot.limits.refusal.wait_us;
    }
    if (!answer.answered) {
        if (!answer.limited)
            answer.problem = slot.problem;
        if (sent_us == 0)
            observe::not_sent();
        return;
    }
    observe::answered({slot.taken_us - slot.submitted_us, sent_us - slot.taken_us, slot.answered_us - sent_us});
    char *body = static_cast<char *>(
        palloc_extended(std::size_t{slot.reply.bytes} + core::PaddedText::kPadding, MCXT_ALLOC_HUGE));
    if (!segment.payloads->copy_out(slot.reply, body))
        elog(ERROR, "a reply in shared memory is damaged");
    memset(body + slot.reply.bytes, 0, core::PaddedText::kPadding);
    const std::size_t rest = std::min(slot.rest_bytes, slot.reply.bytes);
    answer.rest = {body, rest};
    answer.body = {{body + rest, slot.reply.bytes - rest}};
}

void set_timed_out(const Held &held, Answer &answer) {
    answer = Answer{};
    answer.was_sent = was_sent(held);
    answer.timed_out = true;
    observe::timed_out();
    answer.problem.set(core::sqlstate::kTimeoutExpired, "no answer within %d ms", guc::request_timeout_ms);
    answer.problem.with_hint("Raise steadytext.request_timeout, or look at steadytext_daemon_status().");
}

void let_go(Held &held, shmem::Abandon because) {
    const shmem::Segment &segment = shmem::segment();
    if (!held.published)
        return;
    held.published = false;
    if (segment.slots->abandon(held.id, because)) {
        segment.counters->add(my_shard(), because == shmem::Abandon::TimedOut ? Counter::Timeouts : Counter::Cancels);
        point_at(held);
    } else {
        segment.slots->release(held.id, *segment.payloads);
        room::call_next();
    }
}

void ask(const Call &call, Answer &answer) {
    Held held;
    answer = Answer{};
    if (!submit(call, held, answer.problem)) {
        answer.timed_out = core::monotonic_us() >= call.deadline_us;  // for want of room
        return;
    }
    // Between the two nothing can raise.
    PG_ENSURE_ERROR_CLEANUP(let_go_on_error, PointerGetDatum(&held));
    {
        if (wait(held))
            take_answer(held, answer);
        else
            set_timed_out(held, answer);
    }
    PG_END_ENSURE_ERROR_CLEANUP(let_go_on_error, PointerGetDatum(&held));
    let_go(held, shmem::Abandon::TimedOut);
    answer.total_ms = static_cast<double>(core::monotonic_us() - held.start_us) / 1000;
}

bool note_reading(const Answer &answer, bool read, const core::Problem &problem) {
    const shmem::Segment &segment = shmem::segment();
    shmem::DaemonRow &daemon = segment.daemons->rows[answer.daemon];
    if (daemon.tenure.load(std::memory_order_acquire) != answer.daemon_tenure)
        return read;  // the daemon is gone, and its row another's
    if (read || strcmp(problem.sqlstate, core::sqlstate::kProtocolViolation) != 0) {
        daemon.breaker.record_readable();
    } else {
        segment.counters->add(my_shard(), Counter::InvalidReplies);
        daemon.failures.fetch_add(1, std::memory_order_relaxed);
        daemon.breaker.record_unreadable(guc::breaker_settings(), core::monotonic_us());
    }
    return read;
}

}  // namespace steadytext::session
