// The hot cache's index: where each key's value lies, and how often it was asked for.
//
// Part of HotCache; hot_cache.hpp says which processes call, and in which order. Regime: pure.
//
// A shard's slots stand in buckets of a cache line each; a key may be in any slot of its two buckets. A slot
// has two words. Both change by compare-and-swap only, so the second of two writers notices the first:
//
//   place  {tag:22 | occupied:1 | log:1 | position:40}, 0 when empty. Writers publish, move and evict; erase()
//          empties.
//   use    {generation:6 | frequency:4 | last hit:27 | hits:27}. Readers add hits, drains take them. The writer
//          raises the generation before it gives the slot to another key, so that no hit is counted for the
//          wrong key.
//
// SHA-256 digests are uniform, so their bits serve as hashes directly.
#pragma once

#include "shmem/atomic.hpp"
#include "src/core/sha256.hpp"

#include <algorithm>
#include <cstring>

namespace steadytext::shmem::cache {

enum class LogId : std::uint8_t { Fresh, Proven };

// A digest as four words, and the use of its bits.
struct KeyWords {
    std::uint64_t words[4];

    explicit KeyWords(const core::Digest &key) noexcept { std::memcpy(words, key.bytes, sizeof words); }
    KeyWords() noexcept = default;
    [[nodiscard]] bool operator==(const KeyWords &) const noexcept = default;

    [[nodiscard]] core::Digest digest() const noexcept {
        core::Digest key;
        std::memcpy(key.bytes, words, sizeof words);
        return key;
    }
    [[nodiscard]] std::uint32_t shard_bits() const noexcept { return static_cast<std::uint32_t>(words[0]); }
    [[nodiscard]] std::uint64_t tag() const noexcept { return words[3] >> 42; }
    // Bucket `choice` (0 or 1) of `buckets`.
    [[nodiscard]] std::uint32_t bucket(int choice, std::uint32_t buckets) const noexcept {
        return scale(static_cast<std::uint32_t>(words[1] >> (32 * choice)), buckets);
    }
    // Counter of row 0..3 in a sketch of `size` words of 16 counters.
    [[nodiscard]] std::uint32_t sketch_word(int row, std::uint32_t size) const noexcept {
        return scale(static_cast<std::uint32_t>(words[row < 2 ? 0 : 2] >> (32 * (row % 2))), size);
    }
    [[nodiscard]] int sketch_shift(int row) const noexcept { return static_cast<int>(words[3] >> (4 * row) & 15) * 4; }

private:
    // Maps 32 uniform bits to [0, range) by their high end; shard_bits() uses the low end.
    [[nodiscard]] static std::uint32_t scale(std::uint32_t bits, std::uint32_t range) noexcept {
        return static_cast<std::uint32_t>(std::uint64_t{bits} * range >> 32);
    }
};

// The word `place` of a slot.
class Place {
public:
    static constexpr int kPositionBits = 40;
    static constexpr std::uint64_t kPositionMask = (std::uint64_t{1} << kPositionBits) - 1;

    constexpr Place() noexcept = default;
    explicit constexpr Place(std::uint64_t word) noexcept : word_(word) {}
    Place(const KeyWords &key, LogId log, std::uint64_t position) noexcept
        : word_(key.tag() << 42 | std::uint64_t{1} << 41 | static_cast<std::uint64_t>(log) << 40 |
                (position & kPositionMask)) {}

    [[nodiscard]] bool is_empty() const noexcept { return word_ == 0; }
    [[nodiscard]] bool may_be(const KeyWords &key) const noexcept { return word_ >> 41 == (key.tag() << 1 | 1); }
    [[nodiscard]] LogId log() const noexcept { return static_cast<LogId>(word_ >> 40 & 1); }
    // The full position, given the end of its log, which is never more than 2^40 words ahead.
    [[nodiscard]] std::uint64_t position(std::uint64_t end) const noexcept {
        return end - ((end - word_) & kPositionMask);
    }
    [[nodiscard]] std::uint64_t word() const noexcept { return word_; }

private:
    std::uint64_t word_ = 0;
};

// The word `use` of a slot. Seconds count from the cache's beginning.
class Use {
public:
    static constexpr std::uint64_t kMaxHits = (1U << 27) - 1;
    static constexpr std::uint64_t kMaxSeconds = (1U << 27) - 1;
    static constexpr std::uint64_t kMaxFrequency = 15;

    explicit constexpr Use(std::uint64_t word) noexcept : word_(word) {}

    [[nodiscard]] std::uint32_t hits() const noexcept { return static_cast<std::uint32_t>(word_ & kMaxHits); }
    [[nodiscard]] std::uint64_t last_hit() const noexcept { return word_ >> 27 & kMaxSeconds; }
    [[nodiscard]] std::uint32_t frequency() const noexcept {
        return static_cast<std::uint32_t>(word_ >> 54 & kMaxFrequency);
    }
    [[nodiscard]] std::uint64_t generation() const noexcept { return word_ >> 58; }
    [[nodiscard]] std::uint64_t word() const noexcept { return word_; }

    [[nodiscard]] Use after_hit(std::uint64_t second) const noexcept {
        return Use(generation(), std::min<std::uint64_t>(frequency() + 1, kMaxFrequency), std::max(second, last_hit()),
                   std::min<std::uint64_t>(hits() + 1, kMaxHits));
    }
    [[nodiscard]] Use without_hits() const noexcept { return Use(generation(), frequency(), last_hit(), 0); }
    [[nodiscard]] Use with_frequency(std::uint64_t frequency) const noexcept {
        return Use(generation(), frequency, last_hit(), hits());
    }
    [[nodiscard]] Use next_generation() const noexcept { return Use((generation() + 1) & 63, 0, 0, 0); }

private:
    constexpr Use(std::uint64_t generation, std::uint64_t frequency, std::uint64_t last_hit,
                  std::uint64_t hits) noexcept
        : word_(generation << 58 | frequency << 54 | last_hit << 27 | hits) {}
    std::uint64_t word_;
};

struct Slot {
    std::atomic<std::uint64_t> place{0};
    std::atomic<std::uint64_t> use{0};

    // acquire: pairs with the release in every change of `place`, so the words at that position are there.
    [[nodiscard]] Place load_place() const noexcept { return Place(place.load(std::memory_order_acquire)); }
    // acquire: a place loaded later belongs to this generation or a later generation; if later, the swap fails.
    [[nodiscard]] Use load_use() const noexcept { return Use(use.load(std::memory_order_acquire)); }
    [[nodiscard]] bool swap_place(Place from, Place to) noexcept {
        std::uint64_t expected = from.word();
        return place.compare_exchange_strong(expected, to.word(), std::memory_order_acq_rel);
    }
    // On failure `from` is set to the word that was found.
    [[nodiscard]] bool swap_use(Use &from, Use to) noexcept {
        std::uint64_t found = from.word();
        const bool swapped = use.compare_exchange_strong(found, to.word(), std::memory_order_acq_rel);
        from = Use(found);
        return swapped;
    }
};

inline constexpr std::uint32_t kSlotsPerBucket = kCacheLine / sizeof(Slot);

// A slot as a reader saw it.
struct SlotSight {
    std::uint32_t shard;
    std::uint32_t slot;
    std::uint64_t place;
    std::uint64_t use;
};

}  // namespace steadytext::shmem::cache
