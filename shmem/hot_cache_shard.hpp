// A shard of the hot cache: its state, its memory, and the lock of its writers.
//
// Part of HotCache (hot_cache.hpp). Regime: pure.
#pragma once

#include "shmem/hot_cache_log.hpp"
#include "shmem/hot_cache_sketch.hpp"

#include <sched.h>
#include <time.h>

namespace steadytext::shmem::cache {

// Hits of a value that was evicted before a drain came by.
struct DepartedHits {
    KeyWords key;
    std::uint64_t use;
    std::uint32_t owner;
    std::uint32_t role;
};

// Sizes of every shard; the same for all.
struct ShardGeometry {
    std::uint32_t shards;  // a power of two
    std::uint32_t slots;   // a whole number of buckets
    std::uint32_t sketch_words;
    std::uint32_t departed;
    std::uint64_t log_words[2];  // by LogId
    std::size_t max_value_bytes;

    [[nodiscard]] std::size_t shard_bytes() const noexcept;
};

struct alignas(kCacheLine) ShardState {
    // Readers look at these at every hit.
    std::atomic<std::uint64_t> log_end[2]{};

    // The writer's part. `writer` is the word of ShardLock: acquire to take, release to give back, so the writer that
    // holds it owns the plain members.
    alignas(kCacheLine) std::atomic<std::uint32_t> writer{0};
    std::atomic<std::uint64_t> log_begin[2]{};
    std::atomic<std::uint64_t> entries{0};
    std::uint64_t sketch_additions = 0;
    std::atomic<std::uint32_t> departed_count{0};

    // Counters, relaxed.
    alignas(kCacheLine) std::atomic<std::uint64_t> misses{0};
    std::atomic<std::uint64_t> settled_hits{0};  // all hits that are no longer in a slot
    std::atomic<std::uint64_t> unfolded_hits{0};
    std::atomic<std::uint64_t> inserts{0};
    std::atomic<std::uint64_t> evictions{0};
    std::atomic<std::uint64_t> erased{0};
    std::atomic<std::uint64_t> refused_size{0};
    std::atomic<std::uint64_t> refused_busy{0};
    std::atomic<std::uint64_t> refused_admission{0};
};

inline void count(std::atomic<std::uint64_t> &counter, std::uint64_t by = 1) noexcept {
    counter.fetch_add(by, std::memory_order_relaxed);
}

// The pieces of a shard, as addresses of this process.
struct Shard {
    const ShardGeometry *geometry;
    ShardState *state;
    Slot *slots;
    std::uint64_t *sketch_words;
    DepartedHits *departed;
    std::uint64_t *log_words[2];

    // `memory` holds geometry.shard_bytes().
    Shard(const ShardGeometry &geometry, char *memory) noexcept;

    [[nodiscard]] Log log(LogId id) const noexcept {
        const auto i = static_cast<std::size_t>(id);
        return {log_words[i], geometry->log_words[i], state->log_begin[i], state->log_end[i]};
    }
    // The first slot of bucket `choice` (0 or 1) of `key`.
    [[nodiscard]] std::uint32_t bucket(const KeyWords &key, int choice) const noexcept {
        return key.bucket(choice, geometry->slots / kSlotsPerBucket) * kSlotsPerBucket;
    }
    // The header at a place, if it was not overwritten meanwhile.
    [[nodiscard]] bool load_header(Place place, EntryHeader &header) const noexcept {
        const Log log_of_place = log(place.log());
        const std::uint64_t position = place.position(log_of_place.end());
        header = log_of_place.load_header(position);
        return log_of_place.is_intact(position);
    }
    // Empties a slot that still holds `place`.
    [[nodiscard]] bool vacate(Slot &slot, Place place) const noexcept {
        if (place.is_empty() || !slot.swap_place(place, Place()))
            return false;
        state->entries.fetch_sub(1, std::memory_order_relaxed);
        return true;
    }
};

// Held while a writer works. The attempts go in three stages. First a writer spins for the time of some insertions.
// Then it yields a few times, as the holder may have lost its processor. Then it naps for some milliseconds, as among
// hundreds of sessions the holder may not get its processor back at once: if the leader of a flight could not store its
// answer, the daemon would be asked again. A writer that waited in vain marks the word kStuck: the holder may be
// stopped, so nobody waits for it again.
class ShardLock {
public:
    explicit ShardLock(ShardState &state) noexcept : writer_(state.writer) {
        for (int pauses = 0;
             !try_often() && pauses < kYields + kNaps && writer_.load(std::memory_order_relaxed) != kStuck; pauses++)
            if (pauses < kYields)
                sched_yield();
            else
                (void)nanosleep(&kNap, nullptr);
        if (std::uint32_t seen = kHeld; !held_)
            (void)writer_.compare_exchange_strong(seen, kStuck, std::memory_order_relaxed);
    }
    ~ShardLock() {
        if (held_)
            writer_.store(kFree, std::memory_order_release);  // pairs with the exchange
    }
    ShardLock(const ShardLock &) = delete;
    ShardLock &operator=(const ShardLock &) = delete;
    [[nodiscard]] explicit operator bool() const noexcept { return held_; }

private:
    static constexpr std::uint32_t kFree = 0, kHeld = 1, kStuck = 2;
    static constexpr int kAttempts = 200;  // some insertions of a kilobyte
    static constexpr int kYields = 50, kNaps = 100;
    static constexpr timespec kNap = {0, 100'000};
    [[nodiscard]] bool try_often() noexcept {
        for (int attempt = 0; attempt < kAttempts && !held_; attempt++)
            held_ = writer_.load(std::memory_order_relaxed) == kFree &&
                    writer_.exchange(kHeld, std::memory_order_acquire) == kFree;
        return held_;
    }
    std::atomic<std::uint32_t> &writer_;
    bool held_ = false;
};

}  // namespace steadytext::shmem::cache
