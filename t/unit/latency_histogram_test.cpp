// Percentiles of how long requests took, from buckets.
#include "shmem/latency_histogram.hpp"

#include <gtest/gtest.h>
#include <memory>

namespace {

using steadytext::shmem::LatencyHistogram;

TEST(LatencyHistogram, IsZeroUntilSomethingIsCounted) {
    const auto histogram = std::make_unique<LatencyHistogram>();
    EXPECT_EQ(histogram->percentile_us(0.99), 0U);
}

TEST(LatencyHistogram, IsOffByASixteenthAtMost) {
    const auto histogram = std::make_unique<LatencyHistogram>();
    for (std::int64_t took_us = 1; took_us < (std::int64_t{1} << 33); took_us = took_us * 21 / 20 + 1) {
        histogram->clear();
        histogram->record(took_us);
        const auto told = static_cast<double>(histogram->percentile_us(0.99));
        EXPECT_NEAR(told, static_cast<double>(took_us), static_cast<double>(took_us) / 16 + 1);
    }
}

TEST(LatencyHistogram, TellsTheSlowFromTheMany) {
    const auto histogram = std::make_unique<LatencyHistogram>();
    for (int i = 0; i < 985; i++)
        histogram->record(1000);
    for (int i = 0; i < 15; i++)
        histogram->record(80'000);
    EXPECT_NEAR(static_cast<double>(histogram->percentile_us(0.50)), 1000, 1000.0 / 16);
    EXPECT_NEAR(static_cast<double>(histogram->percentile_us(0.98)), 1000, 1000.0 / 16);
    EXPECT_NEAR(static_cast<double>(histogram->percentile_us(0.99)), 80'000, 80'000.0 / 16);
}

TEST(LatencyHistogram, TakesWhatIsOutOfBounds) {
    const auto histogram = std::make_unique<LatencyHistogram>();
    histogram->record(-5);
    EXPECT_EQ(histogram->percentile_us(1.0), 0U);
    histogram->record(INT64_MAX);
    EXPECT_GT(histogram->percentile_us(1.0), std::uint64_t{1} << 33);
}

}  // namespace
