// Whose fault answers are that nobody can read: a role's own, as long as others use the daemon and can read theirs.
#include "src/core/role_streak.hpp"

#include <gtest/gtest.h>

namespace {

using steadytext::core::RoleStreak;

constexpr std::uint32_t kHostile = 1, kHonest = 2;

TEST(RoleStreak, ARoleAloneSpeaksForTheDaemon) {
    RoleStreak streak;
    streak.worked(kHostile, 1);
    EXPECT_TRUE(streak.is_the_daemons(kHostile, 10));
}

TEST(RoleStreak, BesideOthersItSpeaksForItself) {
    RoleStreak streak;
    streak.worked(kHonest, 1);
    for (std::int64_t now_us = 10; now_us < 20; now_us++)
        EXPECT_FALSE(streak.is_the_daemons(kHostile, now_us));
    EXPECT_TRUE(streak.is_the_daemons(kHostile, 10 + RoleStreak::kMemoryUs)) << "others have not asked for long";
}

TEST(RoleStreak, TwoRolesWithoutAnAnswerBetweenThemSpeakForTheDaemon) {
    RoleStreak streak;
    streak.worked(kHonest, 1);
    EXPECT_FALSE(streak.is_the_daemons(kHostile, 10));
    EXPECT_TRUE(streak.is_the_daemons(kHonest, 11));
    EXPECT_TRUE(streak.is_the_daemons(kHostile, 12));
    streak.worked(kHonest, 13);
    EXPECT_FALSE(streak.is_the_daemons(kHostile, 14)) << "somebody could read an answer";
}

}  // namespace
