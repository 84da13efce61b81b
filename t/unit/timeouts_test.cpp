// Whose fault timeouts are: a role's own, as long as no others time out too.
#include "src/core/timeouts.hpp"

#include <gtest/gtest.h>

namespace {

using steadytext::core::Timeouts;

constexpr std::uint32_t kSlow = 1, kHonest = 2, kMost = 3, kEpoch = 0;
constexpr std::int64_t kHoldUs = 1000;

bool times_out(Timeouts &timeouts, std::uint32_t role, std::int64_t now_us) {
    return timeouts.is_the_daemons(role, kMost, kHoldUs, kEpoch, now_us);
}

TEST(Timeouts, ARoleSpeaksForItselfAndIsHeldBackAlone) {
    Timeouts timeouts;
    for (std::uint32_t i = 1; i <= kMost; i++) {
        EXPECT_FALSE(times_out(timeouts, kSlow, 10));
        EXPECT_EQ(timeouts.holds_back(kSlow, kEpoch, 10), i == kMost);
    }
    EXPECT_FALSE(timeouts.holds_back(kHonest, kEpoch, 10));
    EXPECT_FALSE(timeouts.holds_back(kSlow, kEpoch, 10 + kHoldUs)) << "it may try again";
    EXPECT_FALSE(times_out(timeouts, kSlow, 2000));
    EXPECT_TRUE(timeouts.holds_back(kSlow, kEpoch, 2000)) << "and is held back again";
    timeouts.forgive();
    EXPECT_FALSE(timeouts.holds_back(kSlow, kEpoch, 2000)) << "until somebody is answered";
}

// However often the role with most of them times out, the daemon is charged what the others saw.
TEST(Timeouts, AllButThoseOfTheRoleWithMostAreTheDaemons) {
    Timeouts timeouts;
    for (int i = 0; i < 10; i++)
        EXPECT_FALSE(times_out(timeouts, kSlow, 10));
    EXPECT_TRUE(times_out(timeouts, kHonest, 11));
    for (int i = 0; i < 10; i++)
        EXPECT_FALSE(times_out(timeouts, kSlow, 12));
    EXPECT_TRUE(times_out(timeouts, kHonest, 13));
    timeouts.forgive();
    EXPECT_FALSE(times_out(timeouts, kHonest, 14)) << "somebody was answered";
}

TEST(Timeouts, AResetForgivesThoseBeforeItAndNoneAfterIt) {
    Timeouts timeouts;
    for (std::uint32_t i = 1; i <= kMost; i++)
        (void)times_out(timeouts, kSlow, 10);
    EXPECT_FALSE(timeouts.holds_back(kSlow, kEpoch + 1, 10)) << "at once";
    for (std::uint32_t i = 1; i <= kMost; i++) {
        EXPECT_FALSE(timeouts.is_the_daemons(kSlow, kMost, kHoldUs, kEpoch + 1, 11));
        EXPECT_EQ(timeouts.holds_back(kSlow, kEpoch + 1, 11), i == kMost);
    }
}

TEST(Timeouts, ManyRolesTakeABoundedRoom) {
    Timeouts timeouts;
    for (std::uint32_t role = 1; role < 10 * Timeouts::kMaxRoles; role++)
        EXPECT_EQ(times_out(timeouts, role, role), role > 1) << role;
}

}  // namespace
