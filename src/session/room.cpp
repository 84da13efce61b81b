// Shares and the line: see room.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/session/room.hpp"
#include "src/core/clock.hpp"
#include "src/core/fair_share.hpp"

namespace steadytext::session::room {

using core::FairShare;
using shmem::Counter;

namespace {

void wake(std::int32_t proc_number) { pg::set_latch_of(proc_number); }

void count(Counter counter) {
    shmem::segment().counters->add(static_cast<std::uint32_t>(pg::my_proc_number()), counter);
}

}  // namespace

// The role that has logged in counts, not the role that the session acts as: SET ROLE gives nobody another share.
shmem::Claimant claimant(const SlotRequest &request) { return {pg::my_proc_number(), login_of(*request.spending)}; }

std::uint32_t chunks_of(const SlotRequest &request) {
    return shmem::PayloadPool::chunks_for(request.params.size()) + (request.streaming ? 1 : 0);
}

// Shares of slots and payload memory: src/core/fair_share.hpp. The holdings of roles are counted only when so much is
// in use that it matters. The slots are looked at first: a slot is counted as free after its memory is.
Shortage shortage(const SlotRequest &request) {
    const shmem::Segment &segment = shmem::segment();
    const std::uint32_t slots = segment.slots->size(), slots_in_use = segment.slots->in_use();
    const std::uint32_t chunks = segment.payloads->chunk_count(), chunks_in_use = segment.payloads->chunks_in_use();
    const std::uint32_t more = chunks_of(request);
    if (FairShare::allows_anyone(1, slots_in_use, slots) && FairShare::allows_anyone(more, chunks_in_use, chunks))
        return Shortage::None;
    const shmem::Holdings held = segment.slots->held_by(claimant(request).role);
    if (!FairShare::allows(held.slots, 1, slots_in_use, slots))
        return Shortage::Slot;
    return FairShare::allows(held.chunks, more, chunks_in_use, chunks) ? Shortage::None : Shortage::Memory;
}

bool others_wait() { return !shmem::segment().waiting_line->is_empty(); }

void join_line(const SlotRequest &request) {
    count(Counter::RoomWaits);
    shmem::segment().waiting_line->join(pg::my_proc_number(),
                                        {claimant(request).role, chunks_of(request), request.deadline_us});
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

bool can_never_be(const SlotRequest &request) { return chunks_of(request) > shmem::segment().payloads->chunk_count(); }

void refuse(const SlotRequest &request, core::Problem &problem) {
    const shmem::Segment &segment = shmem::segment();
    const shmem::Holdings held = segment.slots->held_by(claimant(request).role);
    if (can_never_be(request) || shortage(request) == Shortage::Memory) {
        count(Counter::PayloadFull);
        problem.set(core::sqlstate::kOutOfMemory, "no room in shared memory for a request");
        problem
            .with_detail("The request has %zu bytes; this role's requests under way have %zu kB of %zu kB.",
                         request.params.size(), std::size_t{held.chunks} * shmem::PayloadPool::kChunkBytes / 1024,
                         std::size_t{segment.payloads->chunk_count()} * shmem::PayloadPool::kChunkBytes / 1024)
            .with_hint("Raise steadytext.payload_memory.");
        return;
    }
    count(Counter::QueueFull);
    problem.set(core::sqlstate::kInsufficientResources, "too many requests under way");
    if (segment.slots->in_use() < segment.slots->size())
        problem.with_detail("This role has %u of %u request slots; the free ones are kept for other roles.", held.slots,
                            segment.slots->size());
    else
        problem.with_detail("All %u request slots are in use.", segment.slots->size());
    problem.with_hint("Raise steadytext.max_requests.");
}

}  // namespace steadytext::session::room
