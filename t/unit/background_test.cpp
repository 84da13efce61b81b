// What the background gets beside others: an eighth of the time, in no bursts; and when its steps are broken off.
#include "daemon/background.hpp"

#include <gtest/gtest.h>

namespace {

using steadytext::daemon::BackgroundShare;
using steadytext::daemon::YieldSignal;

TEST(BackgroundShare, IsAnEighthOfTheOthersTimeInTheLongRun) {
    for (const double step : {0.001, 0.06, 0.5}) {
        BackgroundShare share;
        double others = 0, background = 0;
        while (others < 60) {
            share.others_computed(0.02);
            others += 0.02;
            if (share.has_turn()) {
                share.computed_beside_others(step);
                background += step;
            }
        }
        EXPECT_LE(background, others * BackgroundShare::kShare + step) << step;
        EXPECT_GE(background, step < 0.002 ? others / 0.02 * step * 0.99 : others * BackgroundShare::kShare * 0.9)
            << step;
    }
}

TEST(BackgroundShare, IsNotSavedForABurst) {
    BackgroundShare share;
    EXPECT_FALSE(share.has_turn());
    share.others_computed(1000);
    int steps = 0;
    for (; share.has_turn(); steps++)
        share.computed_beside_others(0.02);
    EXPECT_EQ(steps, 3);
}

TEST(YieldSignal, BreaksOffOnlyStepsThatMayBe) {
    YieldSignal signal;
    signal.begin_step(true);
    EXPECT_FALSE(signal.breaks_off());
    signal.raise();
    EXPECT_TRUE(signal.breaks_off());
    signal.begin_step(false);
    EXPECT_FALSE(signal.breaks_off());
    signal.lower();
    signal.begin_step(true);
    EXPECT_FALSE(signal.breaks_off());
}

}  // namespace
