// Placing, readers, erasing, drains: see hot_cache.hpp for the protocol. Regime: pure.
#include "shmem/hot_cache.hpp"

#include <bit>
#include <new>

namespace steadytext::shmem {

using namespace cache;

namespace {

constexpr std::size_t kBytesPerSlot = 256;
constexpr std::uint64_t kFreshShare = 5;  // percent of the room, for new values
constexpr int kLooks = 16;                // attempts to read a value that a writer keeps moving

// Enough shards that writers seldom meet and that the duel costs little; few enough that large values fit.
std::uint32_t shards_for(std::size_t bytes) noexcept {
    return std::bit_floor(static_cast<std::uint32_t>(std::clamp<std::size_t>(bytes / (2U << 20), 32, 64)));
}

ShardGeometry geometry_of(const HotCacheConfig &config) noexcept {
    ShardGeometry geometry{};
    geometry.shards = shards_for(config.bytes);
    const std::size_t bytes = std::max<std::size_t>(config.bytes / geometry.shards, 16384) / kCacheLine * kCacheLine;
    geometry.slots = static_cast<std::uint32_t>(round_up(bytes / kBytesPerSlot, kSlotsPerBucket));
    geometry.sketch_words = geometry.slots / 2;
    geometry.departed = geometry.slots / 32 + 1;
    const std::size_t logs = bytes - geometry.shard_bytes();  // with no logs yet
    geometry.log_words[0] = logs / 8 * kFreshShare / 100;
    geometry.log_words[1] = logs / 8 - geometry.log_words[0] - kCacheLine / 8;

    const std::size_t wanted =
        config.max_value_bytes != 0 ? config.max_value_bytes : std::min<std::size_t>(config.bytes / 16, 4U << 20);
    const std::size_t possible = (geometry.log_words[1] - kHeaderWords) * 8;
    geometry.max_value_bytes = std::min({wanted, possible, static_cast<std::size_t>(EntryHeader::kMaxSize)});
    return geometry;
}

}  // namespace

// ---- layout --------------------------------------------------------------------------------------------------------

std::size_t HotCache::bytes_needed(const HotCacheConfig &config) noexcept {
    const ShardGeometry geometry = geometry_of(config);
    return round_up(sizeof(HotCache)) + geometry.shards * geometry.shard_bytes();
}

HotCache *HotCache::place(void *memory, const HotCacheConfig &config) noexcept {
    auto *cache = new (memory) HotCache(geometry_of(config), core::unix_us());
    for (std::uint32_t i = 0; i < cache->geometry_.shards; i++) {
        const Shard shard = cache->shard(i);
        new (shard.state) ShardState;
        for (std::uint32_t slot = 0; slot < cache->geometry_.slots; slot++)
            new (&shard.slots[slot]) Slot;
        std::fill_n(shard.sketch_words, cache->geometry_.sketch_words, 0);
    }
    return cache;
}

Shard HotCache::shard(std::uint32_t index) noexcept {
    return {geometry_, reinterpret_cast<char *>(this) + round_up(sizeof *this) + index * geometry_.shard_bytes()};
}

// ---- readers -------------------------------------------------------------------------------------------------------

// A single pass over the slots that may hold `key`. Moving: a value was overwritten during the look.
HotCache::Sight HotCache::look(Shard &shard, const KeyWords &key, SlotSight &sight, EntryHeader &header) noexcept {
    bool moving = false;
    for (int choice = 0; choice < 2; choice++) {
        const std::uint32_t bucket = shard.bucket(key, choice);
        for (std::uint32_t i = bucket; i < bucket + kSlotsPerBucket; i++) {
            if (!shard.slots[i].load_place().may_be(key))
                continue;
            const Use use = shard.slots[i].load_use();
            const Place place = shard.slots[i].load_place();  // again: not older than `use`
            if (!place.may_be(key) || !shard.load_header(place, header)) {
                moving = true;
                continue;
            }
            if (header.key == key) {
                sight.slot = i;
                sight.place = place.word();
                sight.use = use.word();
                return Sight::Found;
            }
        }
    }
    return moving ? Sight::Moving : Sight::Absent;
}

bool HotCache::find(const CacheKey &digest, std::int64_t now_us, CacheHit &hit) noexcept {
    const KeyWords key(digest);
    hit.sight.shard = shard_of(key);
    Shard here = shard(hit.sight.shard);
    __builtin_prefetch(&here.slots[here.bucket(key, 0)]);
    __builtin_prefetch(&here.slots[here.bucket(key, 1)]);

    EntryHeader header;
    Sight seen = Sight::Moving;
    for (int attempt = 0; attempt < kLooks && seen == Sight::Moving; attempt++)
        seen = look(here, key, hit.sight, header);
    if (seen != Sight::Found || header.is_expired(now_us)) {
        count(here.state->misses);
        return false;
    }
    hit.size = header.size();
    hit.kind = static_cast<ValueKind>(header.kind());
    hit.flags = header.flags();
    hit.owner = {header.owner(), header.role(), header.epoch()};
    hit.expires_us = header.expires_us();
    return true;
}

bool HotCache::find(const CacheKey &key, const CacheOwner &owner, std::int64_t now_us, CacheHit &hit) noexcept {
    if (!find(key, now_us, hit))
        return false;
    if (hit.owner == owner)
        return true;
    count(shard(hit.sight.shard).state->misses);
    return false;
}

bool HotCache::copy_out(const CacheHit &hit, std::int64_t now_us, char *buffer) noexcept {
    const Place place(hit.sight.place);
    const Log log = shard(hit.sight.shard).log(place.log());
    const std::uint64_t position = place.position(log.end());
    log.load(position + kHeaderWords, buffer, hit.size);
    if (!log.is_intact(position))
        return false;
    count_hit(hit.sight, now_us);
    return true;
}

ReadResult HotCache::read(const CacheKey &key, std::int64_t now_us, char *buffer, std::size_t room,
                          CacheHit &hit) noexcept {
    for (int attempt = 0; attempt < kLooks; attempt++) {
        if (!find(key, now_us, hit))
            return ReadResult::Miss;
        if (hit.size > room)
            return ReadResult::TooSmall;
        if (copy_out(hit, now_us, buffer))
            return ReadResult::Hit;
    }
    count(shard(hit.sight.shard).state->misses);
    return ReadResult::Miss;
}

std::uint64_t HotCache::second_of(std::int64_t now_us) const noexcept {
    return std::clamp<std::uint64_t>(now_us > begun_us_ ? (now_us - begun_us_) / 1'000'000 : 0, 0, Use::kMaxSeconds);
}

std::int64_t HotCache::time_of(Use use) const noexcept {
    return begun_us_ + static_cast<std::int64_t>(use.last_hit()) * 1'000'000;
}

// A hit's only atomic read-modify-write. Tried again only if another hit came between.
void HotCache::count_hit(const SlotSight &sight, std::int64_t now_us) noexcept {
    const Shard here = shard(sight.shard);
    const std::uint64_t second = second_of(now_us);
    Slot &slot = here.slots[sight.slot];
    const std::uint64_t generation = Use(sight.use).generation();
    for (Use use(sight.use); use.generation() == generation;)
        if (slot.swap_use(use, use.after_hit(second)))
            return;
    // The value was evicted after it was copied: no slot to count the hit in.
    count(here.state->settled_hits);
    count(here.state->unfolded_hits);
}

// ---- writers -------------------------------------------------------------------------------------------------------

bool HotCache::insert(const CacheKey &digest, const CacheValue &value, std::int64_t now_us) noexcept {
    EntryHeader header;
    header.key = KeyWords(digest);
    Shard here = shard(shard_of(header.key));
    if (value.bytes.size() > geometry_.max_value_bytes) {
        count(here.state->refused_size);
        return false;
    }
    header.what = std::uint64_t{value.bytes.size()} << 40 | std::uint64_t{static_cast<std::uint8_t>(value.kind)} << 32 |
                  value.owner.database;
    header.expiry = static_cast<std::uint64_t>(value.expires_us) << 8 | value.flags;
    header.asker = std::uint64_t{value.owner.role} << 32 | value.owner.epoch;

    const ShardLock lock(*here.state);
    if (!lock) {
        count(here.state->refused_busy);
        return false;
    }
    ShardWriter writer(here, admission(shard_of(header.key)), now_us);
    if (!writer.put(header, value.bytes.data())) {
        count(here.state->refused_admission);
        return false;
    }
    count(here.state->inserts);
    return true;
}

// Set dueling (Qureshi et al., 2007). Of every 32 shards, the first admits all values and the second weighs
// them; the other shards use the policy that has fewer insertions, that is fewer misses. Weighing wins by far
// where some keys are wanted much more often than others; admitting all wins where the popular keys change
// fast. Admitting all must be better by 1/16, as shards differ a little by chance.
Admission HotCache::admission(std::uint32_t index) noexcept {
    constexpr std::int32_t kBound = 1 << 14;
    const std::int32_t score = duel_.load(std::memory_order_relaxed);
    if (index % 32 == 0) {
        duel_.store(std::max(score - 17, -kBound), std::memory_order_relaxed);  // a lost update does no harm
        return Admission::All;
    }
    if (index % 32 == 1) {
        duel_.store(std::min(score + 16, kBound), std::memory_order_relaxed);
        return Admission::Weigh;
    }
    return score > 0 ? Admission::All : Admission::Weigh;
}

// A value that is being moved cannot be read, but its slot can be emptied: then the move fails. As the tag
// has only 22 bits, the value of another key may be erased too; this costs a miss.
bool HotCache::erase(const CacheKey &digest) noexcept {
    const KeyWords key(digest);
    const Shard here = shard(shard_of(key));
    bool erased = false;
    for (int choice = 0; choice < 2; choice++)
        for (std::uint32_t i = 0; i < kSlotsPerBucket; i++) {
            Slot &slot = here.slots[here.bucket(key, choice) + i];
            for (Place place = slot.load_place(); place.may_be(key); place = slot.load_place()) {
                EntryHeader header;
                if (here.load_header(place, header) && header.key != key)
                    break;
                erased |= here.vacate(slot, place);
            }
        }
    if (erased)
        count(here.state->erased);
    return erased;
}

// ---- the keeper's side ---------------------------------------------------------------------------------------------

// Takes the hits of a slot that were counted since the last call. The generation in `use` guards the key: it
// is raised before the slot goes to another key. So the swap fails if the key read in between does not belong
// to these hits.
bool HotCache::take_hits(std::uint32_t shard_index, std::uint32_t slot_index, std::uint32_t owner,
                         KeyHits &hits) noexcept {
    const Shard here = shard(shard_index);
    Slot &slot = here.slots[slot_index];
    for (Use use = slot.load_use(); use.hits() > 0; use = slot.load_use()) {
        const Place place = slot.load_place();
        EntryHeader header;
        if (!place.is_empty() && !here.load_header(place, header))
            return false;  // being moved: the next drain will have them
        if (!place.is_empty() && header.owner() != owner)
            return false;
        if (!slot.swap_use(use, use.without_hits()))
            continue;
        count(here.state->settled_hits, use.hits());
        if (place.is_empty()) {
            count(here.state->unfolded_hits, use.hits());
            return false;  // erased, and the key with it
        }
        hits = {header.key.digest(), use.hits(), time_of(use), header.role()};
        return true;
    }
    return false;
}

bool HotCache::take_departed_hits(std::uint32_t shard_index, std::uint32_t owner, KeyHits &hits) noexcept {
    const Shard here = shard(shard_index);
    ShardState &state = *here.state;
    if (state.departed_count.load(std::memory_order_relaxed) == 0)
        return false;
    const ShardLock lock(state);
    const std::uint32_t waiting = state.departed_count.load(std::memory_order_relaxed);
    if (!lock || waiting == 0)
        return false;
    const auto at = [&](std::uint32_t i) -> DepartedHits & { return here.departed[i]; };
    std::uint32_t found = 0;
    while (found < waiting && at(found).owner != owner)
        found++;
    if (found == waiting)
        return false;
    hits = {at(found).key.digest(), Use(at(found).use).hits(), time_of(Use(at(found).use)), at(found).role};
    at(found) = at(waiting - 1);  // their order means nothing
    state.departed_count.store(waiting - 1, std::memory_order_relaxed);
    return true;
}

HotCacheStats HotCache::stats() noexcept {
    HotCacheStats stats = stats_without_hits();
    for (std::uint32_t i = 0; i < geometry_.shards; i++) {
        const Shard here = shard(i);
        stats.hits += here.state->settled_hits.load(std::memory_order_relaxed);
        for (std::uint32_t slot = 0; slot < geometry_.slots; slot++)
            stats.hits += here.slots[slot].load_use().hits();
    }
    return stats;
}

HotCacheStats HotCache::stats_without_hits() noexcept {
    HotCacheStats stats{};
    const auto add = [](std::uint64_t &sum, const std::atomic<std::uint64_t> &counter) {
        sum += counter.load(std::memory_order_relaxed);
    };
    for (std::uint32_t i = 0; i < geometry_.shards; i++) {
        const Shard here = shard(i);
        const ShardState &state = *here.state;
        add(stats.misses, state.misses);
        add(stats.inserts, state.inserts);
        add(stats.evictions, state.evictions);
        add(stats.erased, state.erased);
        add(stats.refused_size, state.refused_size);
        add(stats.refused_busy, state.refused_busy);
        add(stats.refused_admission, state.refused_admission);
        add(stats.unfolded_hits, state.unfolded_hits);
        for (const LogId id : {LogId::Fresh, LogId::Proven})
            stats.bytes_total += here.log(id).capacity() * 8;
        add(stats.entries, state.entries);
        for (const LogId id : {LogId::Fresh, LogId::Proven})
            stats.bytes_used += (here.log(id).capacity() - here.log(id).free_words()) * 8;
    }
    return stats;
}

}  // namespace steadytext::shmem
