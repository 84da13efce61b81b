// Shares, claims and the line: see room.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/session/room.hpp"
#include "src/core/clock.hpp"
#include "src/core/fair_share.hpp"

#include <algorithm>

namespace steadytext::session::room {

using shmem::Counter;
using core::FairShare;

namespace {

void wake(std::int32_t proc_number) { pg::set_latch_of(proc_number); }

void count(Counter counter) { shmem::segment().counters->add(static_cast<std::uint32_t>(pg::my_proc_number()), counter); }

// Roles are one by who they are, not by whom they act as: SET ROLE gives nobody another share.
shmem::Claimant claimant(const Call &call) {
    const Oid role = OidIsValid(call.spending->login) ? call.spending->login : GetSessionUserId();
    return {pg::my_proc_number(), role};
}

std::uint32_t chunks_of(const Call &call) { return shmem::PayloadPool::chunks_for(call.params.size()) + (call.streaming ? 1 : 0); }

// Of the role's share of slots and payload memory (src/core/fair_share.hpp). What roles hold is counted only when so much is in use that
// it matters. The slots are looked at first: a slot is counted as free after its memory is.
Lack lack(const Call &call, std::uint32_t role) {
    const shmem::Segment &segment = shmem::segment();
    const std::uint32_t slots = segment.slots->size(), slots_in_use = segment.slots->in_use();
    const std::uint32_t chunks = segment.payloads->chunk_count(), chunks_in_use = segment.payloads->chunks_in_use();
    const std::uint32_t more = chunks_of(call);
    if (FairShare::allows_anyone(1, slots_in_use, slots) && FairShare::allows_anyone(more, chunks_in_use, chunks))
        return Lack::None;
    const shmem::Holdings held = segment.slots->held_by(role);
    if (!FairShare::allows(held.slots, 1, slots_in_use, slots))
        return Lack::Slot;
    return FairShare::allows(held.chunks, more, chunks_in_use, chunks) ? Lack::None : Lack::Memory;
}

bool make_ring(const shmem::Segment &segment, shmem::Chain &pieces) {
    if (!segment.payloads->allocate(sizeof(shmem::PieceRing), pieces))
        return false;
    (void)shmem::PieceRing::place(segment.payloads->memory_of(pieces));
    return true;
}

void leave_line_on_error(int, Datum) { leave_line(); }

}  // namespace

Lack claim(const Call &call, shmem::SlotId &id) {
    const shmem::Segment &segment = shmem::segment();
    const shmem::Claimant who = claimant(call);
    if (const Lack lacking = lack(call, who.role); lacking != Lack::None)
        return lacking;
    if (!segment.slots->claim(static_cast<std::uint32_t>(who.proc_number), who, id))
        return Lack::Slot;
    shmem::Slot &slot = (*segment.slots)[id.index];
    if (!segment.payloads->store(call.params, slot.request) || (call.streaming && !make_ring(segment, slot.pieces))) {
        segment.slots->release(id, *segment.payloads);
        call_next();  // another may have found this slot taken
        return Lack::Memory;
    }
    slot.chunks.store(chunks_of(call), std::memory_order_relaxed);
    return Lack::None;
}

bool wait_for(const Call &call, shmem::SlotId &id, core::Problem &problem) {
    if (!others_wait() && claim(call, id) == Lack::None)
        return true;
    if (can_never_be(call)) {
        refuse(call, problem);
        return false;
    }
    static uint32 waiting = 0;
    if (waiting == 0)
        waiting = pg::wait_event("SteadytextRoom");
    bool is_claimed = false;
    join_line(call);
    PG_ENSURE_ERROR_CLEANUP(leave_line_on_error, static_cast<Datum>(0));
    {
        do {
            call_next();
            is_claimed = take_call() && claim(call, id) == Lack::None;
        } while (!is_claimed && sleep_until_woken(call.deadline_us, waiting));
    }
    PG_END_ENSURE_ERROR_CLEANUP(leave_line_on_error, static_cast<Datum>(0));
    leave_line();
    if (!is_claimed)
        refuse(call, problem);
    return is_claimed;
}

bool others_wait() { return !shmem::segment().waiting_line->is_empty(); }

void join_line(const Call &call) {
    count(Counter::RoomWaits);
    shmem::segment().waiting_line->join(pg::my_proc_number(), {claimant(call).role, chunks_of(call), call.deadline_us});
}

bool is_called() { return shmem::segment().waiting_line->is_called(pg::my_proc_number()); }
bool take_call() { return shmem::segment().waiting_line->take_call(pg::my_proc_number()); }

void call_next() {
    const shmem::Segment &segment = shmem::segment();
    if (!segment.waiting_line->is_empty())
        segment.waiting_line->call(*segment.slots, *segment.payloads, core::monotonic_us(), wake);
}

void leave_line() {
    shmem::segment().waiting_line->leave(pg::my_proc_number());
    call_next();
}

bool can_never_be(const Call &call) { return chunks_of(call) > shmem::segment().payloads->chunk_count(); }

void refuse(const Call &call, core::Problem &problem) {
    const shmem::Segment &segment = shmem::segment();
    const std::uint32_t role = claimant(call).role;
    const shmem::Holdings held = segment.slots->held_by(role);
    if (can_never_be(call) || lack(call, role) == Lack::Memory) {
        count(Counter::PayloadFull);
        problem.set(core::sqlstate::kOutOfMemory, "no room in shared memory for a request");
        problem.with_detail("The request has %zu bytes; this role's requests under way have %zu kB of %zu kB.", call.params.size(),
                            std::size_t{held.chunks} * shmem::PayloadPool::kChunkBytes / 1024,
                            std::size_t{segment.payloads->chunk_count()} * shmem::PayloadPool::kChunkBytes / 1024)
            .with_hint("Raise steadytext.payload_memory.");
        return;
    }
    count(Counter::QueueFull);
    problem.set(core::sqlstate::kInsufficientResources, "too many requests under way");
    if (segment.slots->in_use() < segment.slots->size())
        problem.with_detail("This role has %u of %u request slots; the free ones are kept for other roles.", held.slots, segment.slots->size());
    else
        problem.with_detail("All %u request slots are in use.", segment.slots->size());
    problem.with_hint("Raise steadytext.max_requests.");
}

}  // namespace steadytext::session::room
