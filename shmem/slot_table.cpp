// The slot table: see slot_table.hpp for states and ordering. Regime: pure.
#include "shmem/slot_table.hpp"

#include <new>
#include <type_traits>

namespace steadytext::shmem {

static_assert(std::is_standard_layout_v<Slot> && std::is_trivially_destructible_v<Slot>);

namespace {

constexpr std::uint64_t kOwnerMask = (1U << 20) - 1;  // PostgreSQL has at most 2^18 processes
constexpr std::uint64_t kPinned = 1U << 26;
constexpr std::uint64_t kTimedOut = 1U << 27;
constexpr int kStateShift = 28;

constexpr std::uint64_t word_of(std::uint32_t generation, SlotState state, std::uint64_t owner) noexcept {
    return std::uint64_t{generation} << 32 | std::uint64_t{static_cast<std::uint8_t>(state)} << kStateShift | owner;
}
constexpr SlotState state_of(std::uint64_t word) noexcept { return static_cast<SlotState>(word >> kStateShift & 0xF); }
constexpr std::uint32_t generation_of(std::uint64_t word) noexcept { return static_cast<std::uint32_t>(word >> 32); }
constexpr std::uint64_t with_state(std::uint64_t word, SlotState state) noexcept {
    return word_of(generation_of(word), state, word & (kOwnerMask | kPinned));
}
constexpr std::uint32_t set_of(SlotState state) noexcept { return 1U << static_cast<std::uint8_t>(state); }

}  // namespace

std::size_t SlotTable::bytes_needed(std::uint32_t slots) noexcept {
    return round_up(sizeof(SlotTable)) + slots * sizeof(Slot);
}

SlotTable *SlotTable::place(void *memory, std::uint32_t slots) noexcept { return new (memory) SlotTable(slots); }

SlotTable::SlotTable(std::uint32_t size) noexcept : size_(size) {
    for (std::uint32_t i = 0; i < size; i++)
        new (&slots()[i]) Slot;
}

Slot *SlotTable::slots() noexcept {
    return reinterpret_cast<Slot *>(reinterpret_cast<char *>(this) + round_up(sizeof(SlotTable)));
}

SlotState SlotTable::state(std::uint32_t index) noexcept {
    return state_of(slots()[index].word.load(std::memory_order_acquire));
}

std::uint32_t SlotTable::generation(std::uint32_t index) noexcept {
    return generation_of(slots()[index].word.load(std::memory_order_acquire));
}

bool SlotTable::move(SlotId id, SlotState from, SlotState to) noexcept {
    std::atomic<std::uint64_t> &word = slots()[id.index].word;
    std::uint64_t seen = word.load(std::memory_order_acquire);
    // Fails only if the state is another; a pin or unpin by the session at this moment just repeats the loop.
    while (generation_of(seen) == id.generation && state_of(seen) == from)
        // release: hands the slot's fields to the side that `to` names; acquire: takes what the other side wrote.
        if (word.compare_exchange_weak(seen, with_state(seen, to), std::memory_order_acq_rel,
                                       std::memory_order_acquire))
            return true;
    return false;
}

bool SlotTable::claim(std::uint32_t start, const Claimant &claimant, SlotId &id) noexcept {
    const std::uint64_t owner = static_cast<std::uint32_t>(claimant.proc_number) & kOwnerMask;
    for (std::uint32_t i = 0; i < size_; i++) {
        const std::uint32_t index = (start + i) % size_;
        Slot &slot = slots()[index];
        std::uint64_t word = slot.word.load(std::memory_order_relaxed);
        if (state_of(word) != SlotState::Free)
            continue;
        const std::uint32_t generation = generation_of(word);
        if (slot.word.compare_exchange_strong(word, word_of(generation, SlotState::Claimed, owner),
                                              std::memory_order_acquire,  // pairs with set_free()
                                              std::memory_order_relaxed)) {
            in_use_.fetch_add(1, std::memory_order_relaxed);
            slot.role.store(claimant.role, std::memory_order_relaxed);
            slot.chunks.store(0, std::memory_order_relaxed);
            slot.sent_us.store(0, std::memory_order_relaxed);
            slot.owner = claimant.proc_number;
            id = SlotId{index, generation};
            return true;
        }
    }
    return false;
}

void SlotTable::publish(SlotId id) noexcept {
    (void)move(id, SlotState::Claimed, SlotState::Queued);
}  // pairs with take()

bool SlotTable::is_done(SlotId id) noexcept {
    const std::uint64_t word = slots()[id.index].word.load(std::memory_order_acquire);
    return generation_of(word) == id.generation && state_of(word) == SlotState::Done;
}

bool SlotTable::pin(SlotId id) noexcept {
    std::atomic<std::uint64_t> &word = slots()[id.index].word;
    std::uint64_t seen = word.load(std::memory_order_acquire);
    constexpr std::uint32_t kPublished =
        set_of(SlotState::Queued) | set_of(SlotState::Inflight) | set_of(SlotState::Done);
    while (generation_of(seen) == id.generation && (kPublished & set_of(state_of(seen))) != 0)
        // acquire: takes what the gateway wrote; from here on the gateway cannot take the slot back.
        if (word.compare_exchange_weak(seen, seen | kPinned, std::memory_order_acq_rel, std::memory_order_acquire))
            return true;
    return false;
}

void SlotTable::unpin(SlotId id) noexcept {
    // release: pairs with expire(), after which others own the fields. A pinned slot is of this generation.
    slots()[id.index].word.fetch_and(~kPinned, std::memory_order_release);
}

bool SlotTable::abandon(SlotId id, std::uint32_t states, std::uint64_t reason, bool even_pinned) noexcept {
    std::atomic<std::uint64_t> &word = slots()[id.index].word;
    std::uint64_t seen = word.load(std::memory_order_acquire);
    while (generation_of(seen) == id.generation && (states & set_of(state_of(seen))) != 0 &&
           (even_pinned || (seen & kPinned) == 0))
        if (word.compare_exchange_weak(seen, (with_state(seen, SlotState::Abandoned) & ~kPinned) | reason,
                                       std::memory_order_acq_rel, std::memory_order_acquire))
            return true;
    return false;
}

bool SlotTable::abandon(SlotId id, Abandon because) noexcept {
    return abandon(id, set_of(SlotState::Queued) | set_of(SlotState::Inflight),
                   because == Abandon::TimedOut ? kTimedOut : 0, true);
}

bool SlotTable::expire(SlotId id) noexcept {
    return abandon(id, set_of(SlotState::Queued) | set_of(SlotState::Inflight) | set_of(SlotState::Done), kTimedOut,
                   false);
}

bool SlotTable::bury(SlotId id) noexcept {
    const std::uint32_t any =
        set_of(SlotState::Claimed) | set_of(SlotState::Queued) | set_of(SlotState::Inflight) | set_of(SlotState::Done);
    return abandon(id, any, 0, true);
}

Abandon SlotTable::abandoned_because(std::uint32_t index) noexcept {
    return (slots()[index].word.load(std::memory_order_acquire) & kTimedOut) != 0 ? Abandon::TimedOut
                                                                                  : Abandon::Cancelled;
}

std::int32_t SlotTable::owner(std::uint32_t index) noexcept {
    return static_cast<std::int32_t>(slots()[index].word.load(std::memory_order_acquire) & kOwnerMask);
}

void SlotTable::release(SlotId id, PayloadPool &pool) noexcept {
    const std::uint64_t word = slots()[id.index].word.load(std::memory_order_acquire);
    const bool is_claimed = generation_of(word) == id.generation && state_of(word) == SlotState::Claimed;
    // No other process ends Claimed while this process lives; Done belongs to the session once it is pinned.
    if (is_claimed || (is_done(id) && pin(id)))
        set_free(id, pool);
}

bool SlotTable::take(SlotId id) noexcept { return move(id, SlotState::Queued, SlotState::Inflight); }

bool SlotTable::put_back(SlotId id) noexcept { return move(id, SlotState::Inflight, SlotState::Queued); }

bool SlotTable::is_inflight(SlotId id) noexcept {
    const std::uint64_t word = slots()[id.index].word.load(std::memory_order_acquire);
    return generation_of(word) == id.generation && state_of(word) == SlotState::Inflight;
}

bool SlotTable::complete(SlotId id) noexcept { return move(id, SlotState::Inflight, SlotState::Done); }

void SlotTable::reclaim(SlotId id, PayloadPool &pool) noexcept {
    const std::uint64_t word = slots()[id.index].word.load(std::memory_order_acquire);
    // Else freed already, or never this request
    if (generation_of(word) == id.generation && state_of(word) == SlotState::Abandoned)
        set_free(id, pool);
}

void SlotTable::set_free(SlotId id, PayloadPool &pool) noexcept {
    Slot &slot = slots()[id.index];
    pool.free(slot.request);
    pool.free(slot.pieces);
    pool.free(slot.reply);
    slot.chunks.store(0, std::memory_order_relaxed);
    slot.word.store(word_of(id.generation + 1, SlotState::Free, 0), std::memory_order_release);  // pairs with claim()
    in_use_.fetch_sub(1);  // seq_cst, and last: a slot counted as free is free. See waiting_line.hpp
}

bool SlotTable::holding(std::uint32_t index, std::uint32_t &role, Holdings &held) noexcept {
    const Slot &slot = slots()[index];
    if (state_of(slot.word.load(std::memory_order_relaxed)) == SlotState::Free)
        return false;
    role = slot.role.load(std::memory_order_relaxed);
    held = {1, slot.chunks.load(std::memory_order_relaxed)};
    return true;
}

Holdings SlotTable::held_by(std::uint32_t role) noexcept {
    Holdings all;
    for (std::uint32_t i = 0; i < size_; i++) {
        std::uint32_t holder;
        Holdings held;
        if (!holding(i, holder, held) || holder != role)
            continue;
        all.slots += held.slots;
        all.chunks += held.chunks;
    }
    return all;
}

}  // namespace steadytext::shmem
