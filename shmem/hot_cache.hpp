// The hot cache: answers in shared memory, found by the SHA-256 of the request.
//
// Called by sessions, which read and write, and by the keeper, which drains the hit counters. Regime: pure, noexcept.
//
// Sharded by key. A shard is an index of slots (hot_cache_index.hpp) that point into two logs (hot_cache_log.hpp): a
// small log for new values, a large log for proven values. The policy is in hot_cache_writer.hpp.
//
// Readers take no lock. Their only write is the compare-and-swap that counts the hit, so a stopped reader blocks
// nobody. A reader copies, then checks that the log has not overwritten what it copied; a torn copy is a miss, never an
// answer. A writer takes its shard's lock: it tries for some microseconds, then yields, then naps for some milliseconds
// in all, and at last gives up: the value is not cached. A writer that is stopped in the middle prevents further
// insertions into its shard and nothing else: reads and erase() take no lock. All places are offsets, so processes may
// map the memory at different addresses.
#pragma once

#include "shmem/atomic.hpp"
#include "shmem/hot_cache_writer.hpp"
#include "src/core/clock.hpp"
#include "src/core/sha256.hpp"

#include <string_view>

namespace steadytext::shmem {

struct HotCacheConfig {
    std::size_t bytes;                // everything: logs, index, sketch
    std::size_t max_value_bytes = 0;  // 0: a sixteenth of `bytes`, at most 4 MiB
};

using CacheKey = core::Digest;

enum class ValueKind : std::uint8_t { Text, Embedding };

// The owner of a value. The key contains names, but a name may be given again to another role or database, so the owner
// is compared too.
struct CacheOwner {
    std::uint32_t database = 0;  // drain_hits() selects by it
    std::uint32_t role = 0;      // 0: all roles of the database
    std::uint32_t epoch = 0;     // of the database (cache_epochs.hpp): a value of an earlier epoch has been cleared
    [[nodiscard]] bool operator==(const CacheOwner &) const noexcept = default;
};

struct CacheValue {
    ValueKind kind;
    std::string_view bytes;
    CacheOwner owner{};
    std::int64_t expires_us = 0;  // since 1970; 0 is never
    std::uint8_t flags = 0;       // the caller's
};

// The value that find() saw, and its place. Valid until the value is evicted, which copy_out() notices.
struct CacheHit {
    std::size_t size;
    ValueKind kind;
    std::uint8_t flags;
    CacheOwner owner;
    std::int64_t expires_us;
    cache::SlotSight sight;  // copy_out()'s
};

struct KeyHits {
    CacheKey key;
    std::uint32_t hits;
    std::int64_t last_hit_us;  // to the second
    std::uint32_t role;        // the value's owner; 0: all roles of the database
};

struct HotCacheStats {
    std::uint64_t hits, misses;
    std::uint64_t inserts, evictions,
        erased;                       // evictions: published values given up for room, replaced ones not counted
    std::uint64_t refused_size;       // larger than max_value_bytes
    std::uint64_t refused_busy;       // another writer held the shard
    std::uint64_t refused_admission;  // too large for the new ones' log, and not wanted often enough for the other
    std::uint64_t unfolded_hits;      // hits that no drain will report: of erased keys, or too many at once
    std::uint64_t entries, bytes_used, bytes_total;  // bytes of live values with their headers; of both logs
};

// The result of a lookup.
enum class ReadResult { Hit, Miss, TooSmall };

class HotCache {
public:
    [[nodiscard]] static std::size_t bytes_needed(const HotCacheConfig &config) noexcept;
    // Once, before any other process sees the memory.
    static HotCache *place(void *memory, const HotCacheConfig &config) noexcept;

    // Two steps, as the caller makes the room in between: find() tells the size, copy_out() fills `buffer`
    // and counts the hit. copy_out() says false if the value went or moved meanwhile: find() again.
    [[nodiscard]] bool find(const CacheKey &key, std::int64_t now_us, CacheHit &hit) noexcept;
    // A value of another owner is a miss.
    [[nodiscard]] bool find(const CacheKey &key, const CacheOwner &owner, std::int64_t now_us, CacheHit &hit) noexcept;
    [[nodiscard]] bool copy_out(const CacheHit &hit, std::int64_t now_us, char *buffer) noexcept;

    // Both steps for a caller with a buffer at hand. TooSmall: `hit.size` says how much room it takes.
    [[nodiscard]] ReadResult read(const CacheKey &key, std::int64_t now_us, char *buffer, std::size_t room,
                                  CacheHit &hit) noexcept;

    // The forms of the first hot cache, for callers that know no times yet.
    [[nodiscard]] ReadResult read(const CacheKey &key, ValueKind kind, char *buffer, std::size_t room,
                                  std::size_t &size) noexcept {
        CacheHit hit;
        const ReadResult result = read(key, core::unix_us(), buffer, room, hit);
        if (result == ReadResult::Miss || hit.kind != kind)
            return ReadResult::Miss;
        size = hit.size;
        return result;
    }
    [[nodiscard]] bool insert(const CacheKey &key, ValueKind kind, std::string_view value) noexcept {
        return insert(key, {kind, value}, core::unix_us());
    }

    // Replaces the value of the key. False, and counted, if refused: see HotCacheStats.
    bool insert(const CacheKey &key, const CacheValue &value, std::int64_t now_us) noexcept;

    // After erase() returns, a lookup that begins later does not find the erased value. Takes no lock.
    bool erase(const CacheKey &key) noexcept;

    // Reports the hits of each of the database's keys since the last report, each hit once, by calling `report(const
    // KeyHits &)`. Nothing is held during the call, so it may raise. Any number of processes may drain; each hit is
    // reported to a single process.
    template <class Report>
    void drain_hits(std::uint32_t database, Report &&report) {
        KeyHits hits;
        for (std::uint32_t shard = 0; shard < geometry_.shards; shard++) {
            for (std::uint32_t slot = 0; slot < geometry_.slots; slot++)
                if (take_hits(shard, slot, database, hits))
                    report(static_cast<const KeyHits &>(hits));
            while (take_departed_hits(shard, database, hits))
                report(static_cast<const KeyHits &>(hits));
        }
    }

    // Walks all slots to sum the hits: for an operator's eyes, not for a hot path.
    [[nodiscard]] HotCacheStats stats() noexcept;
    // As stats(), but without the hits, and without a walk.
    [[nodiscard]] HotCacheStats stats_without_hits() noexcept;
    [[nodiscard]] std::size_t max_value_bytes() const noexcept { return geometry_.max_value_bytes; }

private:
    explicit HotCache(const cache::ShardGeometry &geometry, std::int64_t begun_us) noexcept
        : geometry_(geometry), begun_us_(begun_us) {}

    enum class Sight { Found, Absent, Moving };

    [[nodiscard]] cache::Shard shard(std::uint32_t index) noexcept;
    [[nodiscard]] std::uint32_t shard_of(const cache::KeyWords &key) const noexcept {
        return key.shard_bits() & (geometry_.shards - 1);
    }
    [[nodiscard]] Sight look(cache::Shard &shard, const cache::KeyWords &key, cache::SlotSight &sight,
                             cache::EntryHeader &header) noexcept;
    [[nodiscard]] std::uint64_t second_of(std::int64_t now_us) const noexcept;
    [[nodiscard]] std::int64_t time_of(cache::Use use) const noexcept;
    [[nodiscard]] cache::Admission admission(std::uint32_t shard) noexcept;
    void count_hit(const cache::SlotSight &sight, std::int64_t now_us) noexcept;
    [[nodiscard]] bool take_hits(std::uint32_t shard, std::uint32_t slot, std::uint32_t database,
                                 KeyHits &hits) noexcept;
    [[nodiscard]] bool take_departed_hits(std::uint32_t shard, std::uint32_t database, KeyHits &hits) noexcept;

    cache::ShardGeometry geometry_;
    std::int64_t begun_us_;
    std::atomic<std::int32_t> duel_{0};  // above 0: letting all values in does better
};

}  // namespace steadytext::shmem
