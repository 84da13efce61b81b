// The slot table: see slot_table.hpp for states and ordering. Regime: pure.
#include "shmem/slot_table.hpp"

#include <new>
#include <type_traits>

namespace steadytext::shmem {

static_assert(std::is_standard_layout_v<Slot> && std::is_trivially_destructible_v<Slot>);

namespace {

constexpr std::uint64_t pack(std::uint32_t generation, SlotState state) noexcept {
    return std::uint64_t{generation} << 32 | std::uint64_t{static_cast<std::uint8_t>(state)} << 24;
}
constexpr SlotState state_of(std::uint64_t word) noexcept {
    return static_cast<SlotState>(static_cast<std::uint8_t>(word >> 24));
}
constexpr std::uint32_t generation_of(std::uint64_t word) noexcept { return static_cast<std::uint32_t>(word >> 32); }

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
    std::uint64_t expected = pack(id.generation, from);
    // release: hands the slot's fields to the side that `to` names; acquire: takes what the other side wrote.
    return slots()[id.index].word.compare_exchange_strong(expected, pack(id.generation, to),
                                                          std::memory_order_acq_rel, std::memory_order_acquire);
}

bool SlotTable::claim(std::uint32_t start, SlotId &id) noexcept {
    for (std::uint32_t i = 0; i < size_; i++) {
        const std::uint32_t index = (start + i) % size_;
        std::uint64_t word = slots()[index].word.load(std::memory_order_relaxed);
        if (state_of(word) != SlotState::Free)
            continue;
        const std::uint32_t generation = generation_of(word);
        if (slots()[index].word.compare_exchange_strong(word, pack(generation, SlotState::Claimed),
                                                        std::memory_order_acquire,  // pairs with set_free()
                                                        std::memory_order_relaxed)) {
            id = SlotId{index, generation};
            return true;
        }
    }
    return false;
}

void SlotTable::publish(SlotId id) noexcept {
    slots()[id.index].word.store(pack(id.generation, SlotState::Queued),
                                 std::memory_order_release);  // pairs with take()
}

bool SlotTable::is_done(SlotId id) noexcept {
    return slots()[id.index].word.load(std::memory_order_acquire) == pack(id.generation, SlotState::Done);
}

bool SlotTable::abandon(SlotId id, Abandon because) noexcept {
    slots()[id.index].abandoned_because = because;
    return move(id, SlotState::Queued, SlotState::Abandoned) || move(id, SlotState::Inflight, SlotState::Abandoned) ||
           // The gateway may have put it back between the two tries.
           move(id, SlotState::Queued, SlotState::Abandoned) || move(id, SlotState::Inflight, SlotState::Abandoned);
}

void SlotTable::release(SlotId id, PayloadPool &pool) noexcept {
    set_free(id, state(id.index), pool);
}

bool SlotTable::take(SlotId id) noexcept { return move(id, SlotState::Queued, SlotState::Inflight); }

bool SlotTable::put_back(SlotId id) noexcept { return move(id, SlotState::Inflight, SlotState::Queued); }

bool SlotTable::is_inflight(SlotId id) noexcept {
    return slots()[id.index].word.load(std::memory_order_acquire) == pack(id.generation, SlotState::Inflight);
}

bool SlotTable::complete(SlotId id) noexcept { return move(id, SlotState::Inflight, SlotState::Done); }

void SlotTable::reclaim(SlotId id, PayloadPool &pool) noexcept { set_free(id, SlotState::Abandoned, pool); }

void SlotTable::set_free(SlotId id, SlotState from, PayloadPool &pool) noexcept {
    Slot &slot = slots()[id.index];
    if (slot.word.load(std::memory_order_acquire) != pack(id.generation, from))
        return;  // freed already, or never ours
    pool.free(slot.request);
    pool.free(slot.pieces);
    pool.free(slot.reply);
    slot.word.store(pack(id.generation + 1, SlotState::Free), std::memory_order_release);  // pairs with claim()
}

std::uint32_t SlotTable::in_use() noexcept {
    std::uint32_t count = 0;
    for (std::uint32_t i = 0; i < size_; i++)
        count += state(i) != SlotState::Free;
    return count;
}

}  // namespace steadytext::shmem
