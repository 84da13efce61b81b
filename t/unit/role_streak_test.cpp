// Whose fault answers are that nobody can read: a role's own, until another role's cannot be read either.
#include "src/core/role_streak.hpp"

#include <gtest/gtest.h>

namespace {

using steadytext::core::RoleStreak;

constexpr std::uint32_t kHostile = 1, kHonest = 2;
constexpr steadytext::core::BreakerSettings kSettings{3, 1000};

TEST(RoleStreak, ARoleSpeaksForItselfAndIsHeldBackAlone) {
    RoleStreak streak;
    for (std::uint32_t i = 1; i <= kSettings.threshold; i++) {
        EXPECT_FALSE(streak.is_the_daemons(kHostile, kSettings, 10));
        EXPECT_EQ(streak.holds_back(kHostile, 10), i == kSettings.threshold);
    }
    EXPECT_FALSE(streak.holds_back(kHonest, 10));
    EXPECT_FALSE(streak.holds_back(kHostile, 10 + kSettings.recovery_us)) << "it may try again";
    EXPECT_FALSE(streak.is_the_daemons(kHostile, kSettings, 2000));
    EXPECT_TRUE(streak.holds_back(kHostile, 2000)) << "and is held back again";
    streak.worked();
    EXPECT_FALSE(streak.holds_back(kHostile, 2000)) << "until somebody could read an answer";
}

TEST(RoleStreak, TwoRolesWithoutAnAnswerBetweenThemSpeakForTheDaemon) {
    RoleStreak streak;
    EXPECT_FALSE(streak.is_the_daemons(kHostile, kSettings, 10));
    EXPECT_TRUE(streak.is_the_daemons(kHonest, kSettings, 11));
    EXPECT_TRUE(streak.is_the_daemons(kHostile, kSettings, 12));
    streak.worked();
    EXPECT_FALSE(streak.is_the_daemons(kHostile, kSettings, 14)) << "somebody could read an answer";
}

}  // namespace
