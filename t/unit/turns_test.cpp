// Whose request a daemon gets next: idle capacity is anybody's, and no role has all of it while others ask.
#include "src/core/turns.hpp"

#include <gtest/gtest.h>

namespace {

using steadytext::core::Turns;

constexpr std::uint32_t kGreedy = 1, kHonest = 2;

std::uint32_t send_all(Turns &turns, std::uint32_t role, std::uint32_t slots, std::uint32_t most, std::int64_t now_us) {
    std::uint32_t sent = 0;
    for (; sent < most && turns.may_send(role, false, slots, now_us); sent++)
        turns.sent(role, false, now_us);
    return sent;
}

TEST(Turns, ARoleAloneKeepsTheDaemonBusyAndNoMore) {
    Turns turns;
    turns.asked(kGreedy, 1);
    EXPECT_EQ(send_all(turns, kGreedy, 16, 1000, 1), 32U);
    turns.ended(kGreedy, false);
    EXPECT_TRUE(turns.may_send(kGreedy, false, 16, 2));
    EXPECT_EQ(send_all(turns, kGreedy, 0, 1000, 2), 1000U) << "one that does not tell gets what there is";
}

TEST(Turns, OfRequestsThatLastARoleAloneLeavesRoom) {
    Turns turns;
    turns.asked(kGreedy, 1);
    for (std::uint32_t sent = 0; sent < 6; sent++) {
        ASSERT_TRUE(turns.may_send(kGreedy, true, 8, 1)) << sent;
        turns.sent(kGreedy, true, 1);
    }
    EXPECT_FALSE(turns.may_send(kGreedy, true, 8, 1));
    turns.asked(kHonest, 2);
    EXPECT_TRUE(turns.may_send(kHonest, true, 8, 2));
}

TEST(Turns, WhatWasLentAtADaemonThatDoesNotTellKeepsNobodyOut) {
    Turns turns;
    turns.asked(kGreedy, 1);
    EXPECT_EQ(send_all(turns, kGreedy, 0, 192, 1), 192U);
    turns.asked(kHonest, 2);
    EXPECT_FALSE(turns.may_send(kGreedy, false, 0, 2));
    EXPECT_EQ(send_all(turns, kHonest, 0, 1000, 2), 32U) << "its equal part of the guess";
}

TEST(Turns, WhileSeveralAskThereIsRoomForARoleThatHasNone) {
    Turns turns;
    turns.asked(kHonest, 1);
    turns.asked(kGreedy, 1);
    EXPECT_EQ(send_all(turns, kGreedy, 16, 1000, 1), 12U);
    EXPECT_EQ(send_all(turns, kHonest, 16, 1000, 1), 3U);
    EXPECT_FALSE(turns.may_send(kGreedy, false, 16, 1));
    for (std::uint32_t third = 3; third < 4; third++)
        EXPECT_TRUE(turns.may_send(third, false, 16, 1));
}

TEST(Turns, ARoleThatAskedLatelyIsExpectedBackAndThenForgotten) {
    Turns turns;
    turns.asked(kHonest, 1);
    turns.stopped_waiting(kHonest);
    turns.asked(kGreedy, 2);
    EXPECT_TRUE(turns.several_ask(Turns::kRecentUs));
    EXPECT_FALSE(turns.several_ask(Turns::kRecentUs + 1));
    EXPECT_EQ(send_all(turns, kGreedy, 4, 100, Turns::kRecentUs + 1), 8U);
}

TEST(Turns, GivingUpBuysNoMoreTurnsThanWaiting) {
    constexpr std::int64_t kAnswerUs = 20'000;
    Turns turns;
    for (int i = 0; i < 100; i++)
        turns.answered(kAnswerUs);
    turns.asked(kHonest, 1);
    turns.asked(kGreedy, 1);
    std::uint32_t sent = 0;
    std::int64_t now_us = 1;
    for (; now_us <= kAnswerUs / 2; now_us += 1'000)  // each gives up after a millisecond, and asks again
        for (std::uint32_t some = send_all(turns, kGreedy, 16, 8, now_us); some > 0; some--, sent++) {
            turns.ended(kGreedy, false);
            turns.gave_up(kGreedy, now_us, now_us);
        }
    EXPECT_EQ(sent, 12U) << "its share, as if all had waited for their answers";
    EXPECT_EQ(send_all(turns, kHonest, 16, 3, now_us), 3U) << "nobody else's";
    EXPECT_EQ(send_all(turns, kGreedy, 16, 100, 3 * kAnswerUs), 9U) << "and no longer than an answer takes";
}

TEST(Turns, WhatWasLentToARoleAloneIsTooMuchOnceAnotherAsks) {
    Turns turns;
    turns.asked(kGreedy, 1);
    EXPECT_EQ(send_all(turns, kGreedy, 16, 1000, 1), 32U);
    turns.asked(kHonest, 2);
    EXPECT_FALSE(turns.may_send(kHonest, false, 16, 2));
    std::uint64_t role = 0;
    std::uint32_t share = 0;
    ASSERT_TRUE(turns.has_too_many(16, role, share));
    EXPECT_EQ(role, kGreedy);
    EXPECT_EQ(share, 12U);
    for (int i = 0; i < 20; i++)
        turns.ended(kGreedy, false);
    EXPECT_FALSE(turns.has_too_many(16, role, share));
    EXPECT_TRUE(turns.may_send(kHonest, false, 16, 2));
}

TEST(Turns, OfStreamsARoleHasItsShareEvenWhenItIsAlone) {
    Turns turns;
    turns.asked(kGreedy, 1);
    std::uint32_t streams = 0;
    for (; turns.may_send(kGreedy, true, 16, 1); streams++)
        turns.sent(kGreedy, true, 1);
    EXPECT_EQ(streams, 12U);
    EXPECT_TRUE(turns.may_send(kGreedy, false, 16, 1));
    turns.ended(kGreedy, true);
    EXPECT_TRUE(turns.may_send(kGreedy, true, 16, 1));
    EXPECT_TRUE(turns.may_send(kGreedy, true, 1, 1) == false) << "one slot, taken";
}

TEST(Turns, ARolesJobsLeaveRoomForItsSessions) {
    const std::uint64_t sessions = Turns::party_of(kGreedy, false), jobs = Turns::party_of(kGreedy, true);
    EXPECT_FALSE(Turns::is_background(sessions));
    EXPECT_TRUE(Turns::is_background(jobs));
    Turns turns;
    turns.asked(jobs, 1);
    turns.asked(sessions, 1);
    std::uint32_t sent = 0;
    for (; turns.may_send(jobs, false, 16, 1); sent++)
        turns.sent(jobs, false, 1);
    EXPECT_EQ(sent, 12U);
    EXPECT_TRUE(turns.may_send(sessions, false, 16, 1));
}

TEST(Turns, CountsNeverFallBelowNothing) {
    Turns turns;
    turns.ended(kGreedy, false);
    turns.stopped_waiting(kGreedy);
    turns.asked(kGreedy, 1);
    turns.sent(kGreedy, false, 1);
    turns.ended(kGreedy, false);
    turns.ended(kGreedy, false);
    EXPECT_EQ(turns.in_flight(kGreedy), 0U);
    EXPECT_EQ(send_all(turns, kGreedy, 2, 100, 2), 4U);
}

}  // namespace
