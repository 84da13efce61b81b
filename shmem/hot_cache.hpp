// The hot cache: answers in shared memory, found by the SHA-256 of what was asked.
//
// Read and written by sessions. Regime: pure, noexcept.
//
// Sharded by key. Each shard is a log that overwrites its oldest bytes, and a table of buckets that point into it. A writer holds its
// shard by a try-lock and never waits: a value that finds the lock taken is simply not cached. Readers take no lock:
// they copy, then look whether the log has meanwhile run over what they copied, and call it a miss if so. The log is kept in relaxed
// atomic words, so a copy torn by a writer is no data race, only a miss.
#pragma once

#include "shmem/atomic.hpp"

#include <string_view>

namespace steadytext::shmem {

struct HotCacheConfig {
    std::size_t bytes;
};

struct CacheKey {
    unsigned char bytes[32];
};

enum class ValueKind : std::uint8_t { Text, Embedding };
enum class ReadResult { Hit, Miss, TooSmall };

class HotCache {
public:
    [[nodiscard]] static std::size_t bytes_needed(const HotCacheConfig &config) noexcept;
    // Once, before any other process sees the memory.
    static HotCache *place(void *memory, const HotCacheConfig &config) noexcept;

    // Copies the value of `key` into `buffer`. TooSmall: `size` says how much room it takes.
    [[nodiscard]] ReadResult read(const CacheKey &key, ValueKind kind, char *buffer, std::size_t room,
                                  std::size_t &size) noexcept;
    // False if the value is too large for a shard or another writer holds it.
    [[nodiscard]] bool insert(const CacheKey &key, ValueKind kind, std::string_view value) noexcept;
    void clear() noexcept;

private:
    struct Header {
        std::uint64_t key[4];
        std::uint64_t kind_and_size;
    };
    static constexpr std::size_t kHeaderWords = sizeof(Header) / 8;
    static constexpr std::uint32_t kShards = 32;
    static constexpr std::uint64_t kEmpty = 0;

    struct alignas(kCacheLine) Shard {
        std::atomic<std::uint32_t> writer{0};
        // Words written since the start, the ones being written included: position p is intact while reserved - p <= words.
        std::atomic<std::uint64_t> reserved{0};
    };

    HotCache(std::uint64_t words, std::uint64_t buckets) noexcept : words_(words), buckets_(buckets) {}
    [[nodiscard]] std::atomic<std::uint64_t> *table(std::uint32_t shard) noexcept;
    [[nodiscard]] std::atomic<std::uint64_t> &word(std::uint32_t shard, std::uint64_t position) noexcept;
    [[nodiscard]] std::atomic<std::uint64_t> &bucket(std::uint32_t shard, const Header &header) noexcept;
    [[nodiscard]] bool is_intact(std::uint32_t shard, std::uint64_t position) noexcept;

    Shard shards_[kShards];
    std::uint64_t words_;    // of each shard's log
    std::uint64_t buckets_;  // of each shard
};

}  // namespace steadytext::shmem
