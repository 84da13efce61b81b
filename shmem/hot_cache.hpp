// The hot cache: answers in shared memory, found by the SHA-256 of what was asked.
//
// Sessions read and write it, the keeper drains its hit counters. Regime: pure, noexcept.
//
// Sharded by key. A shard is an index of slots (hot_cache_index.hpp) that point into two logs
// (hot_cache_log.hpp), a small one for what is new and a large one for what has proved itself; the policy is
// in hot_cache_writer.hpp.
//
// Readers take no lock and leave no trace but one compare-and-swap that counts the hit, so a stopped reader
// holds up nobody. They copy, then check that the log has not run over what they copied; a torn copy is a
// miss, never an answer. A writer holds its shard by a lock that it tries for some microseconds, then lets others run, and at last
// gives up: the value is simply not cached. A writer stopped in the middle costs its shard further insertions and nothing else:
// reads and erase() take no lock. All places are offsets, so processes may map the memory at
// different addresses.
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

// Whose a value is, beside its key: names are in the key, but a name may be given again. Both are compared.
struct CacheOwner {
    std::uint32_t database = 0;  // what drain_hits() goes by
    std::uint32_t role = 0;      // 0: all roles of the database
    std::uint32_t epoch = 0;     // of the database (cache_epochs.hpp): what is of an earlier one has been cleared
    [[nodiscard]] bool operator==(const CacheOwner &) const noexcept = default;
};

struct CacheValue {
    ValueKind kind;
    std::string_view bytes;
    CacheOwner owner{};
    std::int64_t expires_us = 0;  // since 1970; 0 is never
    std::uint8_t flags = 0;       // the caller's
};

// What find() saw, and where; valid until the value is evicted, which copy_out() notices.
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
};

struct HotCacheStats {
    std::uint64_t hits, misses;
    std::uint64_t inserts, evictions,
        erased;                   // evictions: published values given up for room, replaced ones not counted
    std::uint64_t refused_size;   // larger than max_value_bytes
    std::uint64_t refused_busy;   // another writer held the shard
    std::uint64_t
        refused_admission;  // too large for the new ones' log, and not wanted often enough for the other
    std::uint64_t
        unfolded_hits;  // hits that no drain will report: of erased keys, or too many at once
    std::uint64_t entries, bytes_used, bytes_total;  // bytes of live values with their headers; of both logs
};

// What becomes of one lookup.
enum class ReadResult { Hit, Miss, TooSmall };

class HotCache {
public:
    [[nodiscard]] static std::size_t bytes_needed(const HotCacheConfig &config) noexcept;
    // Once, before any other process sees the memory.
    static HotCache *place(void *memory, const HotCacheConfig &config) noexcept;

    // Two steps, as the caller makes the room in between: find() tells the size, copy_out() fills `buffer`
    // and counts the hit. copy_out() says false if the value went or moved meanwhile: find() again.
    [[nodiscard]] bool find(const CacheKey &key, std::int64_t now_us, CacheHit &hit) noexcept;
    // Another's value is a miss.
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

    // Replaces what the key had. False, and counted, if refused: see HotCacheStats.
    bool insert(const CacheKey &key, const CacheValue &value, std::int64_t now_us) noexcept;

    // Once these return, no lookup that begins later finds what was there. They take no lock.
    bool erase(const CacheKey &key) noexcept;

    // Reports the hits of each of the database's keys since it was last reported, each hit once, calling
    // `report(const KeyHits &)`. Nothing is held during the call, so it may raise. Any number of processes may
    // drain; each hit is reported to one.
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
    // The same but for the hits, at once.
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
