// Begins and ends requests in the gateway: see flights.hpp. Regime: pure.
#include "bgworker/flights.hpp"

#include "shmem/segment.hpp"
#include "src/core/clock.hpp"
#include "src/core/fair_share.hpp"
#include "src/core/utf8.hpp"

#include <utility>

namespace steadytext::gateway {

using shmem::Outcome;
using shmem::SlotId;

Flights::Flights(const shmem::Segment &segment, void (*wake)(std::int32_t))
    : segment_(segment), wake_(wake), flights_(segment.slots->size()) {
    to_wake_.reserve(segment.slots->size());
}

shmem::Slot &Flights::slot(SlotId id) { return (*segment_.slots)[id.index]; }

bool Flights::begin(SlotId id, std::int64_t now_us) {
    if (!segment_.slots->take(id))
        return false;
    Flight &flight = of(id);
    flight = Flight{};
    flight.active = true;
    flight.generation = id.generation;
    flight.role = slot(id).role.load(std::memory_order_relaxed);
    flight.is_background = slot(id).is_background;
    flight.queued_us = now_us;
    active_++;
    return true;
}

Flight *Flights::find(SlotId id) {
    if (id.index >= flights_.size())
        return nullptr;
    Flight &flight = flights_[id.index];
    return flight.active && flight.generation == id.generation ? &flight : nullptr;
}

bool Flights::is_wanted(SlotId id) { return segment_.slots->is_inflight(id); }

Flights::Backlog Flights::deliver_piece(SlotId id, std::string_view text, std::int64_t now_us) {
    constexpr std::size_t kLong = 1 << 16;
    constexpr std::size_t kTooLong = 1 << 20;  // a token has few bytes, an answer at most 4096 tokens
    Flight &flight = of(id);
    if (!is_wanted(id))
        return Backlog::Short;  // the session gave it up and has reported it; the gateway reads this soon
    if (slot(id).first_piece_us == 0)
        slot(id).first_piece_us = now_us;
    if (!flight.backlog.empty() || text.size() > shmem::PieceRing::kMaxPieceBytes || !put_piece(id, text)) {
        flight.backlog += text;
        forward_backlog(id);
    }
    wake_later(slot(id).owner);
    return flight.backlog.size() <= kLong      ? Backlog::Short
           : flight.backlog.size() <= kTooLong ? Backlog::Long
                                               : Backlog::TooLong;
}

void Flights::forward_backlog(SlotId id) {
    std::string &backlog = of(id).backlog;
    if (backlog.empty() || !is_wanted(id))
        return;
    std::string_view left = backlog;
    while (!left.empty()) {
        const std::string_view piece = core::utf8_prefix(left, shmem::PieceRing::kMaxPieceBytes);
        if (!put_piece(id, piece))
            break;
        left.remove_prefix(piece.size());
    }
    if (left.size() < backlog.size())
        wake_later(slot(id).owner);
    backlog.erase(0, backlog.size() - left.size());
}

bool Flights::put_piece(SlotId id, std::string_view text) {
    auto *ring = static_cast<shmem::PieceRing *>(segment_.payloads->memory_of(slot(id).pieces));
    return ring != nullptr && ring->put(text);
}

void Flights::deliver(SlotId id, std::string_view body, std::int64_t now_us) {
    if (!is_wanted(id)) {
        drop(id);
        return;
    }
    std::string &rest = of(id).backlog;
    slot(id).rest_bytes = static_cast<std::uint32_t>(rest.size());
    if (!rest.empty())
        body = rest.append(body);
    free_request(id);
    const bool in_share = has_share(id, body.size());
    if (!in_share || !segment_.payloads->store(body, slot(id).reply)) {
        core::Problem problem;
        problem.set(core::sqlstate::kOutOfMemory, "no room in shared memory for a daemon's reply");
        problem
            .with_detail("The reply has %zu bytes, %s.", body.size(),
                         in_share ? "more than are free" : "more than the role's share leaves")
            .with_hint("Make fewer or smaller calls at once, or raise steadytext.payload_memory.");
        segment_.counters->add(id.index, shmem::Counter::PayloadFull);
        fail(id, Outcome::NoMemory, problem, now_us);
        return;
    }
    slot(id).chunks.fetch_add(shmem::PayloadPool::chunks_for(body.size()), std::memory_order_relaxed);
    finish(id, Outcome::Answered, now_us);
}

// The request has been answered and will not be sent again: its memory is free for the reply.
void Flights::free_request(SlotId id) {
    shmem::Slot &slot = this->slot(id);
    slot.chunks.fetch_sub(shmem::PayloadPool::chunks_for(slot.request.bytes), std::memory_order_relaxed);
    segment_.payloads->free(slot.request);
    has_freed_ = true;
}

// Checks the share of payload memory (src/core/fair_share.hpp): a reply counts like its request.
bool Flights::has_share(SlotId id, std::size_t bytes) {
    const std::uint32_t more = shmem::PayloadPool::chunks_for(bytes);
    const std::uint32_t in_use = segment_.payloads->chunks_in_use(), chunks = segment_.payloads->chunk_count();
    return core::FairShare::allows_anyone(more, in_use, chunks) ||
           core::FairShare::allows(segment_.slots->held_by(of(id).role).chunks, more, in_use, chunks);
}

void Flights::fail(SlotId id, Outcome outcome, const core::Problem &problem, std::int64_t now_us) {
    if (is_wanted(id))
        slot(id).problem = problem;
    finish(id, outcome, now_us);
}

void Flights::finish(SlotId id, Outcome outcome, std::int64_t now_us) {
    shmem::Slot &slot = this->slot(id);
    const std::int32_t owner = slot.owner;
    cancel_reservation(id, now_us);
    slot.outcome = outcome;
    slot.taken_us = of(id).queued_us;
    slot.sent_us.store(of(id).sent_us, std::memory_order_relaxed);
    slot.answered_us = now_us;
    if (outcome == Outcome::Answered) {
        if (answered_[0].role != of(id).role)
            answered_[1] = answered_[0];
        answered_[0] = {of(id).role, now_us};
    }
    if (segment_.slots->complete(id)) {
        forget(id);
        wake_later(owner);
    } else {
        drop(id);
    }
}

void Flights::wake_later(std::int32_t owner) {
    if (to_wake_.empty() || to_wake_.back() != owner)
        to_wake_.push_back(owner);
}

void Flights::wake_owners() {
    for (const std::int32_t owner : to_wake_)
        wake_(owner);
    to_wake_.clear();
    if (std::exchange(has_freed_, false))
        segment_.waiting_line->call(*segment_.slots, *segment_.payloads, core::monotonic_us(), wake_);
}

void Flights::cancel_reservation(SlotId id, std::int64_t now_us) {
    if (std::exchange(of(id).is_reserved, false))
        slot(id).limits.give_back(*segment_.limiter, now_us);
}

void Flights::drop(SlotId id) {
    cancel_reservation(id, core::monotonic_us());
    forget(id);
    reclaim(id);
}

void Flights::reclaim(SlotId id) {
    segment_.slots->reclaim(id, *segment_.payloads);
    has_freed_ = true;
}

void Flights::forget(SlotId id) {
    of(id).active = false;
    active_--;
}

}  // namespace steadytext::gateway
