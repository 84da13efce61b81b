// Insertion and eviction: which values stay in the hot cache.
//
// Created by HotCache::insert() under the shard's lock, for a single insertion. Regime: pure.
//
// New values enter the fresh log, a small FIFO queue: values that are requested only once pass through it
// without disturbing the others. When a value reaches the end of this queue, it moves to the proven log if it
// was requested meanwhile. If not, it is weighed: it moves if the sketch's count for it is higher than the
// sum of the counts of all values that would have to go. The proven log is a FIFO queue with reinsertion: a
// value that was requested since its last pass goes round again. So this is S3-FIFO (Yang et al., 2023) with
// TinyLFU's admission in place of the ghost queue; docs/hot-cache.md has the measurements. Hits reach the
// sketch only here, when a value comes to the end of a log, so a hit costs a reader only the slot's own
// counter.
#pragma once

#include "shmem/hot_cache_shard.hpp"

namespace steadytext::shmem::cache {

// What happens to a value that nobody requested while it was fresh: it is weighed, or admitted like the
// others.
enum class Admission : std::uint8_t { Weigh, All };

class ShardWriter {
public:
    ShardWriter(const Shard &shard, Admission admission, std::int64_t now_us) noexcept;

    // False if the value is not requested often enough for the room it takes.
    [[nodiscard]] bool put(const EntryHeader &header, const char *value) noexcept;

private:
    [[nodiscard]] std::uint64_t entries() const noexcept {
        return shard_.state->entries.load(std::memory_order_relaxed);
    }
    [[nodiscard]] Slot *owner(const KeyWords &key, Place place) const noexcept;
    [[nodiscard]] Slot *slot_of(const KeyWords &key) const noexcept;
    [[nodiscard]] Slot &slot_for_new(const KeyWords &key) noexcept;
    [[nodiscard]] bool is_dead(const EntryHeader &header, const Slot *slot) const noexcept;

    [[nodiscard]] bool make_proven_room(std::uint64_t words, std::uint32_t wanted) noexcept;
    [[nodiscard]] bool settle_proven() noexcept;
    [[nodiscard]] bool outweighs_victims(std::uint64_t words, std::uint32_t wanted) const noexcept;
    void retire_fresh() noexcept;
    void move_to_proven(LogId from, std::uint64_t position, const EntryHeader &header, Slot &slot) noexcept;
    std::uint32_t take_frequency(const KeyWords &key, Slot &slot) noexcept;
    void evict(Slot &slot, const EntryHeader &header) noexcept;
    void assign(Slot &slot, Place place) noexcept;
    void depart(const EntryHeader &header, Use use) noexcept;

    Shard shard_;
    Log fresh_;
    Log proven_;
    FrequencySketch sketch_;
    Admission admission_;
    std::int64_t now_us_;
};

}  // namespace steadytext::shmem::cache
