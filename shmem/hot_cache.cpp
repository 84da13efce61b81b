// Log, buckets, copies: see hot_cache.hpp for the protocol. Regime: pure.
#include "shmem/hot_cache.hpp"

#include <algorithm>
#include <cstring>
#include <new>

namespace steadytext::shmem {

namespace {

constexpr std::size_t kBytesPerBucket = 512;

std::uint32_t shard_of(const CacheKey &key, std::uint32_t shards) noexcept { return key.bytes[31] % shards; }

}  // namespace

std::size_t HotCache::bytes_needed(const HotCacheConfig &config) noexcept {
    const std::uint64_t words = std::max<std::uint64_t>(config.bytes / kShards / 8, 1024);
    const std::uint64_t buckets = words * 8 / kBytesPerBucket;
    return round_up(sizeof(HotCache)) + kShards * (words + buckets) * 8;
}

HotCache *HotCache::place(void *memory, const HotCacheConfig &config) noexcept {
    const std::uint64_t words = std::max<std::uint64_t>(config.bytes / kShards / 8, 1024);
    auto *cache = new (memory) HotCache(words, words * 8 / kBytesPerBucket);
    for (std::uint32_t shard = 0; shard < kShards; shard++)
        for (std::uint64_t i = 0; i < cache->words_ + cache->buckets_; i++)
            new (&cache->table(shard)[i]) std::atomic<std::uint64_t>(kEmpty);
    return cache;
}

// A shard's memory: its buckets, then its log.
std::atomic<std::uint64_t> *HotCache::table(std::uint32_t shard) noexcept {
    auto *start = reinterpret_cast<std::atomic<std::uint64_t> *>(reinterpret_cast<char *>(this) + round_up(sizeof(HotCache)));
    return start + shard * (words_ + buckets_);
}

std::atomic<std::uint64_t> &HotCache::word(std::uint32_t shard, std::uint64_t position) noexcept {
    return table(shard)[buckets_ + position % words_];
}

std::atomic<std::uint64_t> &HotCache::bucket(std::uint32_t shard, const Header &header) noexcept {
    return table(shard)[header.key[0] % buckets_];
}

bool HotCache::is_intact(std::uint32_t shard, std::uint64_t position) noexcept {
    return shards_[shard].reserved.load(std::memory_order_acquire) - position <= words_;
}

ReadResult HotCache::read(const CacheKey &key, ValueKind kind, char *buffer, std::size_t room, std::size_t &size) noexcept {
    const std::uint32_t shard = shard_of(key, kShards);
    Header wanted;
    std::memcpy(wanted.key, key.bytes, sizeof wanted.key);
    const std::uint64_t position = bucket(shard, wanted).load(std::memory_order_acquire);  // pairs with insert()
    if (position == kEmpty)
        return ReadResult::Miss;

    std::uint64_t header[kHeaderWords];
    for (std::size_t i = 0; i < kHeaderWords; i++)
        header[i] = word(shard, position + i).load(std::memory_order_acquire);
    if (std::memcmp(header, wanted.key, sizeof wanted.key) != 0 || (header[4] >> 56) != static_cast<std::uint64_t>(kind) ||
        !is_intact(shard, position))
        return ReadResult::Miss;
    size = header[4] & 0x00FF'FFFF'FFFF'FFFFU;
    if (size > room)
        return ReadResult::TooSmall;
    for (std::size_t done = 0; done < size; done += 8) {
        const std::uint64_t eight = word(shard, position + kHeaderWords + done / 8).load(std::memory_order_acquire);
        std::memcpy(buffer + done, &eight, std::min<std::size_t>(8, size - done));
    }
    return is_intact(shard, position) ? ReadResult::Hit : ReadResult::Miss;
}

bool HotCache::insert(const CacheKey &key, ValueKind kind, std::string_view value) noexcept {
    const std::uint32_t index = shard_of(key, kShards);
    Shard &shard = shards_[index];
    const std::uint64_t needed = kHeaderWords + (value.size() + 7) / 8;
    if (needed > words_ / 4 || shard.writer.exchange(1, std::memory_order_acquire) != 0)
        return false;
    // Position 0 means an empty bucket, so the log begins at 1.
    const std::uint64_t position = std::max<std::uint64_t>(shard.reserved.load(std::memory_order_relaxed), 1);
    // Announced before the first word is overwritten: a reader that sees a new word sees this too.
    shard.reserved.store(position + needed, std::memory_order_relaxed);

    Header header;
    std::memcpy(header.key, key.bytes, sizeof header.key);
    header.kind_and_size = static_cast<std::uint64_t>(kind) << 56 | value.size();
    std::uint64_t words[kHeaderWords];
    std::memcpy(words, &header, sizeof words);
    for (std::size_t i = 0; i < kHeaderWords; i++)
        word(index, position + i).store(words[i], std::memory_order_release);
    for (std::size_t done = 0; done < value.size(); done += 8) {
        std::uint64_t eight = 0;
        std::memcpy(&eight, value.data() + done, std::min<std::size_t>(8, value.size() - done));
        word(index, position + kHeaderWords + done / 8).store(eight, std::memory_order_release);
    }
    bucket(index, header).store(position, std::memory_order_release);
    shard.writer.store(0, std::memory_order_release);
    return true;
}

void HotCache::clear() noexcept {
    for (std::uint32_t shard = 0; shard < kShards; shard++)
        for (std::uint64_t i = 0; i < buckets_; i++)
            table(shard)[i].store(kEmpty, std::memory_order_relaxed);
}

}  // namespace steadytext::shmem
