// Approximate counts of the requests for each key, in four bits each: a count-min sketch that forgets.
//
// Used by the hot cache's writer, under the shard's lock. Regime: pure.
//
// After Einziger, Friedman and Manes, "TinyLFU: A Highly Efficient Cache Admission Policy" (2017). A key is
// counted in four counters and estimated by the least of them. When the additions reach twenty times the
// entries, all counters are halved, so that formerly popular keys make room. (The paper says ten, but
// counts every hit; here only some hits are counted.)
#pragma once

#include "shmem/hot_cache_index.hpp"

namespace steadytext::shmem::cache {

class FrequencySketch {
public:
    static constexpr std::uint32_t kMax = 15;

    FrequencySketch(std::uint64_t *words, std::uint32_t size, std::uint64_t &additions) noexcept
        : words_(words), size_(size), additions_(additions) {}

    [[nodiscard]] std::uint32_t estimate(const KeyWords &key) const noexcept {
        std::uint32_t least = kMax;
        for (int row = 0; row < 4; row++)
            least = std::min(least, static_cast<std::uint32_t>(word(key, row) >> key.sketch_shift(row) & kMax));
        return least;
    }

    // Counts `times` requests for `key`; `entries` is how many keys the cache holds.
    void add(const KeyWords &key, std::uint32_t times, std::uint64_t entries) noexcept {
        for (int row = 0; row < 4; row++) {
            const int shift = key.sketch_shift(row);
            const std::uint64_t room = kMax - (word(key, row) >> shift & kMax);
            word(key, row) += std::min<std::uint64_t>(times, room) << shift;
        }
        additions_ += times;
        if (additions_ > 20 * entries + 1000)
            halve();
    }

private:
    [[nodiscard]] std::uint64_t &word(const KeyWords &key, int row) const noexcept {
        return words_[key.sketch_word(row, size_)];
    }

    void halve() noexcept {
        for (std::uint32_t i = 0; i < size_; i++)
            words_[i] = words_[i] >> 1 & 0x7777'7777'7777'7777U;
        additions_ /= 2;
    }

    std::uint64_t *words_;
    std::uint32_t size_;
    std::uint64_t &additions_;
};

}  // namespace steadytext::shmem::cache
