// Claim, publish, take, let go: see pending_slot.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/session/pending_slot.hpp"
#include "src/core/clock.hpp"
#include "src/guc.hpp"
#include "src/session/embedded_daemon.hpp"
#include "src/session/keeper_call.hpp"
#include "src/session/observe.hpp"
#include "src/session/room.hpp"

#include <algorithm>

namespace steadytext::session {

using shmem::Counter;
using shmem::Outcome;

namespace {

std::uint32_t my_shard() { return static_cast<std::uint32_t>(pg::my_proc_number()); }

std::uint64_t sent_by_process = 0;
shmem::DaemonLimits limits_at_daemons;  // of the request that is being submitted

// Copies the daemon's message out of shared memory, with the padding that a parser needs behind it.
void copy_reply(const shmem::Slot &slot, Answer &answer) {
    char *body = static_cast<char *>(
        palloc_extended(std::size_t{slot.reply.bytes} + core::PaddedText::kPadding, MCXT_ALLOC_HUGE));
    if (!shmem::segment().payloads->copy_out(slot.reply, body))
        elog(ERROR, "a reply in shared memory is damaged");
    memset(body + slot.reply.bytes, 0, core::PaddedText::kPadding);
    const std::size_t rest = std::min(slot.rest_bytes, slot.reply.bytes);
    answer.rest = {body, rest};
    answer.body = {{body + rest, slot.reply.bytes - rest}};
}

bool make_ring(shmem::PayloadPool &payloads, shmem::Chain &pieces) {
    if (!payloads.allocate(sizeof(shmem::PieceRing), pieces))
        return false;
    (void)shmem::PieceRing::place(payloads.memory_of(pieces));
    return true;
}

}  // namespace

// ---- to the gateway ------------------------------------------------------------------------------------------------

// All that may raise or refuse, before there is a slot to lose.
bool PendingSlot::prepare(const SlotRequest &request, core::Problem &problem) {
    want_health();
    start_if_stopped();
    if (!shmem::segment().header->gateway_registered) {
        problem.set(core::sqlstate::kPrerequisiteState, "the pg_steadytext gateway does not run");
        problem.with_detail("No background worker was free for it when the server started.")
            .with_hint("Raise max_worker_processes and restart the server.");
        return false;
    }
    is_published_ = false;
    quota_ = request.quota;
    start_us_ = core::monotonic_us();
    deadline_us_ = request.deadline_us;
    return bind_at_daemons(*request.spending, limits_at_daemons, problem);
}

// A slot with the request in it; false if there is no room for it within the role's share.
bool PendingSlot::claim(const SlotRequest &request) {
    const shmem::Segment &segment = shmem::segment();
    const shmem::Claimant who = room::claimant(request);
    if (room::shortage(request) != room::Shortage::None || !segment.slots->claim(my_shard(), who, id_))
        return false;
    shmem::Slot &claimed = slot();
    if (!segment.payloads->store(request.params, claimed.request) ||
        (request.streaming && !make_ring(*segment.payloads, claimed.pieces))) {
        segment.slots->release(id_, *segment.payloads);
        room::call_next();  // another may have found this slot taken
        return false;
    }
    claimed.chunks.store(room::chunks_of(request), std::memory_order_relaxed);
    return true;
}

// Fills the claimed slot, which has its request already, and gives it to the gateway.
void PendingSlot::publish(const SlotRequest &request) {
    shmem::Slot &filled = slot();
    filled.operation = request.operation;
    filled.streaming = request.streaming;
    filled.is_background = request.is_background;
    const std::size_t length = std::min(request.model.size(), sizeof filled.model - 1);
    request.model.copy(filled.model, length);
    filled.model[length] = '\0';
    filled.submitted_us = start_us_;
    filled.deadline_us.store(deadline_us_, std::memory_order_relaxed);
    filled.limits = limits_at_daemons;
    filled.first_piece_us = 0;
    filled.rest_bytes = 0;
    is_published_ = true;
    shmem::segment().slots->publish(id_);
    sent_by_process++;
    observe::sent();
    point_at();
}

std::uint64_t PendingSlot::submitted() { return sent_by_process; }

PendingSlot::Submitted PendingSlot::submit(const SlotRequest &request, core::Problem &problem) {
    if (!prepare(request, problem))
        return Submitted::Refused;
    if (!claim(request))
        return Submitted::NoRoom;
    publish(request);
    return Submitted::Yes;
}

void PendingSlot::point_at() const {
    const shmem::Segment &segment = shmem::segment();
    (void)segment.ring->push(id_.index);  // a full ring costs a sweep of the gateway
    pg::set_latch_of(segment.header->gateway.proc_number.load(std::memory_order_relaxed));
}

// ---- from the gateway ----------------------------------------------------------------------------------------------

bool PendingSlot::was_sent() const {
    const std::int64_t sent_us = slot().sent_us.load(std::memory_order_relaxed);
    return sent_us != 0 || shmem::segment().slots->generation(id_.index) != id_.generation;
}

bool PendingSlot::extend() {
    if (!pin())
        return false;
    deadline_us_ = deadline_from_now();
    slot().deadline_us.store(deadline_us_, std::memory_order_relaxed);
    unpin();
    return true;
}

Answer PendingSlot::take_answer() const {
    if (!pin())
        return timed_out();
    const shmem::Slot &done = slot();
    Answer answer;
    answer.daemon = done.daemon;
    answer.kind = shmem::kind_of(done.operation);
    answer.daemon_tenure = done.daemon_tenure;
    answer.role = done.role.load(std::memory_order_relaxed);
    const std::int64_t sent_us = done.sent_us.load(std::memory_order_relaxed);
    answer.was_sent = sent_us != 0;
    answer.queue_ms = sent_us == 0 ? 0 : static_cast<double>(sent_us - done.submitted_us) / 1000;
    add_charges(*quota_, done.limits);
    if (done.outcome == Outcome::Answered) {
        answer.result = CallResult::Answered;
        observe::answered({done.taken_us - done.submitted_us, sent_us - done.taken_us, done.answered_us - sent_us});
        copy_reply(done, answer);
        return answer;
    }
    if (done.outcome == Outcome::Limited) {
        answer.result = CallResult::Limited;
        describe_refusal(done.limits, answer.problem);
        answer.limit_wait_us = done.limits.refusal.wait_us;
    } else {
        answer.problem = done.problem;
        answer.is_unserved = done.outcome == Outcome::Unserved;
    }
    if (sent_us == 0)
        observe::not_sent();
    return answer;
}

Answer PendingSlot::timed_out() const {
    Answer answer;
    answer.result = CallResult::TimedOut;
    answer.was_sent = was_sent();
    observe::timed_out();
    answer.problem.set(core::sqlstate::kTimeoutExpired, "no answer within %d ms", guc::request_timeout_ms);
    answer.problem.with_hint("Raise steadytext.request_timeout, or look at steadytext_daemon_status().");
    return answer;
}

void PendingSlot::let_go(shmem::Abandon because) {
    const shmem::Segment &segment = shmem::segment();
    if (!is_published_)
        return;
    is_published_ = false;
    if (segment.slots->abandon(id_, because)) {
        segment.counters->add(my_shard(), because == shmem::Abandon::TimedOut ? Counter::Timeouts : Counter::Cancels);
        point_at();
    } else {
        segment.slots->release(id_, *segment.payloads);
        room::call_next();
    }
}

bool note_reading(const Answer &answer, bool read, const core::Problem &problem) {
    const shmem::Segment &segment = shmem::segment();
    shmem::DaemonRow &daemon = segment.daemons->rows[answer.daemon];
    if (daemon.tenure.load(std::memory_order_acquire) != answer.daemon_tenure)
        return read;  // the daemon is gone, and its row another's
    const std::int64_t now_us = core::monotonic_us();
    if (read)
        daemon.kinds.worked(answer.kind, now_us);
    if (read || strcmp(problem.sqlstate, core::sqlstate::kProtocolViolation) != 0) {
        daemon.unreadable.worked();
        daemon.breaker.record_readable();
    } else {
        segment.counters->add(my_shard(), Counter::InvalidReplies);
        daemon.failures.fetch_add(1, std::memory_order_relaxed);
        if (daemon.unreadable.is_the_daemons(answer.role, guc::breaker_settings(), now_us) &&
            daemon.kinds.is_the_daemons(answer.kind, guc::breaker_settings(), now_us))
            daemon.breaker.record_unreadable(guc::breaker_settings(), now_us);
    }
    return read;
}

}  // namespace steadytext::session
