// Whose failures are: a kind's of requests, as long as another kind works, else the daemon's.
#include "src/core/kind_health.hpp"

#include <gtest/gtest.h>

namespace {

using steadytext::core::BreakerSettings;
using steadytext::core::KindHealth;

constexpr std::size_t kTexts = 0, kEmbeddings = 1, kRankings = 2;
constexpr BreakerSettings kSettings{3, 1000};

TEST(KindHealth, WhereNothingElseHasWorkedItIsTheDaemons) {
    KindHealth health;
    EXPECT_TRUE(health.is_the_daemons(kTexts, kSettings, 10));
    health.worked(kTexts, 20);
    EXPECT_TRUE(health.is_the_daemons(kTexts, kSettings, 30)) << "the same kind says nothing of another";
    EXPECT_FALSE(health.holds_any_off(30));
}

TEST(KindHealth, WhereAnotherKindWorksOnlyThisOneIsHeldOff) {
    KindHealth health;
    health.worked(kTexts, 1);
    for (std::uint32_t i = 1; i <= kSettings.threshold; i++) {
        EXPECT_FALSE(health.is_the_daemons(kEmbeddings, kSettings, 10));
        EXPECT_EQ(health.holds_off(kEmbeddings, 10), i == kSettings.threshold);
    }
    EXPECT_FALSE(health.holds_off(kTexts, 10));
    EXPECT_FALSE(health.holds_off(kRankings, 10));
    EXPECT_FALSE(health.holds_off(kEmbeddings, 10 + kSettings.recovery_us)) << "it is tried again";
    EXPECT_FALSE(health.is_the_daemons(kEmbeddings, kSettings, 2000));
    EXPECT_TRUE(health.holds_off(kEmbeddings, 2000)) << "and held off at once if it fails";
    health.worked(kEmbeddings, 2001);
    EXPECT_FALSE(health.holds_any_off(2001));
}

TEST(KindHealth, WhatFailsSinceItWorkedVouchesForNothing) {
    KindHealth health;
    health.worked(kTexts, 1);
    EXPECT_FALSE(health.is_the_daemons(kEmbeddings, kSettings, 10));
    EXPECT_TRUE(health.is_the_daemons(kTexts, kSettings, 20)) << "embeddings have failed, so nothing works";
    EXPECT_TRUE(health.is_the_daemons(kEmbeddings, kSettings, 30));
}

TEST(KindHealth, WhatWorkedLongAgoVouchesForNothing) {
    KindHealth health;
    health.worked(kTexts, 1);
    EXPECT_TRUE(health.is_the_daemons(kEmbeddings, kSettings, 1 + KindHealth::kMemoryUs));
}

TEST(KindHealth, AReleaseEndsWhatIsHeldOffAndAResetForgets) {
    KindHealth health;
    health.worked(kTexts, 1);
    for (std::uint32_t i = 0; i < kSettings.threshold; i++)
        (void)health.is_the_daemons(kEmbeddings, kSettings, 10);
    health.release();
    EXPECT_FALSE(health.holds_any_off(10));
    EXPECT_FALSE(health.is_the_daemons(kEmbeddings, kSettings, 20)) << "texts are known to work";
    health.reset();
    EXPECT_TRUE(health.is_the_daemons(kEmbeddings, kSettings, 30));
}

}  // namespace
