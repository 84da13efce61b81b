// What is held off after the gateway's own requests failed, and what is not.
#include "src/core/convictions.hpp"

#include <gtest/gtest.h>

#include <string>

namespace {

using steadytext::core::Convictions;

constexpr std::uint32_t kMost = 3, kEpoch = 0;
constexpr std::int64_t kHoldUs = 1000;

void convict(Convictions &convictions, std::string_view subject, std::uint32_t times, std::int64_t now_us = 10) {
    for (std::uint32_t i = 0; i < times; i++)
        convictions.convict(subject, kMost, kHoldUs, kEpoch, now_us);
}

TEST(Convictions, SomeInARowHoldOffWhatFailedAndNothingElse) {
    Convictions convictions;
    convict(convictions, "embed a", kMost - 1);
    EXPECT_FALSE(convictions.holds_off("embed a", kEpoch, 10));
    convict(convictions, "embed a", 1);
    EXPECT_TRUE(convictions.holds_off("embed a", kEpoch, 10));
    EXPECT_FALSE(convictions.holds_off("embed b", kEpoch, 10));
    EXPECT_FALSE(convictions.holds_off("generate a", kEpoch, 10));
    EXPECT_EQ(convictions.until_us(kEpoch, 10), 10 + kHoldUs);
}

TEST(Convictions, AfterTheTimeItIsTriedAgainAndHeldOffAtOnceIfItFails) {
    Convictions convictions;
    convict(convictions, "embed a", kMost);
    EXPECT_FALSE(convictions.holds_off("embed a", kEpoch, 10 + kHoldUs));
    EXPECT_EQ(convictions.until_us(kEpoch, 10 + kHoldUs), 0);
    convict(convictions, "embed a", 1, 2000);
    EXPECT_TRUE(convictions.holds_off("embed a", kEpoch, 2000));
}

TEST(Convictions, AnAnswerAndAResetForgive) {
    Convictions convictions;
    convict(convictions, "embed a", kMost);
    convictions.forgive("embed b");
    EXPECT_TRUE(convictions.holds_off("embed a", kEpoch, 10));
    EXPECT_FALSE(convictions.holds_off("embed a", kEpoch + 1, 10)) << "a reset";
    convictions.convict("embed a", kMost, kHoldUs, kEpoch + 1, 10);
    EXPECT_FALSE(convictions.holds_off("embed a", kEpoch + 1, 10)) << "after a reset the count begins anew";
    convict(convictions, "embed a", kMost);
    convictions.forgive("embed a");
    EXPECT_FALSE(convictions.holds_off("embed a", kEpoch, 10));
    EXPECT_TRUE(convictions.empty());
}

TEST(Convictions, TheyAreBounded) {
    Convictions convictions;
    convict(convictions, "embed held", kMost);
    for (std::size_t i = 0; i < 2 * Convictions::kMost; i++)
        convict(convictions, "embed " + std::to_string(i), 1);
    EXPECT_TRUE(convictions.holds_off("embed held", kEpoch, 10)) << "what is held off stays so";
}

}  // namespace
