// How long requests took, counted in buckets whose width grows with the time: eight buckets for each power
// of two of microseconds.
//
// Part of each row of the daemon table: the gateway counts, any session reads a percentile. Regime: pure,
// lock-free. Each bucket is an independent number; at most, a reader misses a request that is just being
// counted.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace steadytext::shmem {

class LatencyHistogram {
public:
    void record(std::int64_t took_us) noexcept {
        const auto value = static_cast<std::uint64_t>(took_us < 0 ? 0 : took_us);
        buckets_[bucket_of(value)].fetch_add(1, std::memory_order_relaxed);
    }

    // The time within which `share` (0 to 1) of all requests were answered, off by a sixteenth at most; 0 if
    // there were none.
    [[nodiscard]] std::uint64_t percentile_us(double share) const noexcept {
        std::array<std::uint64_t, kBuckets> counts;
        std::uint64_t total = 0;
        for (std::size_t i = 0; i < kBuckets; i++)
            total += counts[i] = buckets_[i].load(std::memory_order_relaxed);
        const double wanted = share * static_cast<double>(total);
        std::uint64_t seen = 0;
        for (std::size_t i = 0; i < kBuckets && total > 0; i++) {
            seen += counts[i];
            if (seen > 0 && static_cast<double>(seen) >= wanted)
                return (first_of(i) + first_of(i + 1)) / 2;
        }
        return 0;
    }

    void clear() noexcept {
        for (auto &bucket : buckets_)
            bucket.store(0, std::memory_order_relaxed);
    }

private:
    static constexpr unsigned kStepBits = 3;
    static constexpr std::uint64_t kSteps = 1U << kStepBits;
    static constexpr std::size_t kBuckets = 256;  // up to 2^34 us, above four hours; the last takes what is longer

    // Below 8 us each value has its own bucket. From there on, the three bits after the leading bit choose.
    static std::size_t bucket_of(std::uint64_t value) noexcept {
        if (value < kSteps)
            return value;
        const unsigned shift = static_cast<unsigned>(std::bit_width(value)) - kStepBits - 1;
        const std::size_t bucket = (shift << kStepBits) + (value >> shift);
        return bucket < kBuckets ? bucket : kBuckets - 1;
    }

    static std::uint64_t first_of(std::size_t bucket) noexcept {
        if (bucket < kSteps)
            return bucket;
        const std::size_t shift = (bucket >> kStepBits) - 1;
        return (kSteps + (bucket & (kSteps - 1))) << shift;
    }

    std::array<std::atomic<std::uint64_t>, kBuckets> buckets_{};
};

static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

}  // namespace steadytext::shmem
