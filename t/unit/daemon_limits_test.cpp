// The limits of a request at certain daemons: each asked where it speaks of the daemon, all charged or none, given back
// where the request does not go there after all.
#include "shmem/daemon_limits.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

namespace {

using steadytext::shmem::DaemonLimits;
using steadytext::shmem::RateLimiter;
using Unit = RateLimiter::Unit;

constexpr std::int64_t kSecond = 1'000'000;
constexpr std::int64_t kNow = 100 * kSecond;
constexpr std::uint64_t kFirst = 1, kSecondDaemon = 2, kFleet = 3;

class DaemonLimitsTest : public testing::Test {
protected:
    DaemonLimitsTest() { limits.demand = {1, 10}; }
    ~DaemonLimitsTest() override { std::free(memory_); }

    void bind(std::uint64_t daemon, Unit unit, std::int64_t most) {
        RateLimiter::Key key;
        key.rule = limits.count;
        RateLimiter::Limit limit{{}, unit, most, kSecond};
        EXPECT_TRUE(limiter->find(key, kNow, limit.meter));
        limits.items[limits.count++] = {daemon, limit};
    }
    bool admit(std::uint64_t daemon, std::uint64_t entry = 0, std::int64_t now_us = kNow) {
        const std::uint64_t names[] = {daemon, entry == 0 ? daemon : entry};
        return limits.admit(*limiter, names, now_us);
    }
    std::int64_t used(std::uint32_t item, std::int64_t now_us = kNow) {
        RateLimiter::Usage usage{};
        EXPECT_TRUE(limiter->peek(limits.items[item].limit, now_us, usage));
        return usage.used;
    }

    DaemonLimits limits;

private:
    void *memory_ = std::aligned_alloc(steadytext::shmem::kCacheLine,
                                       steadytext::shmem::round_up(RateLimiter::bytes_needed(16, 2)));

protected:
    RateLimiter *limiter = RateLimiter::place(memory_, 16, 2);
};

TEST_F(DaemonLimitsTest, OnlyThoseOfTheDaemonAreAsked) {
    bind(kFirst, Unit::Requests, 1);
    EXPECT_TRUE(admit(kFirst));
    EXPECT_FALSE(admit(kFirst)) << "its limit is used up";
    EXPECT_TRUE(admit(kSecondDaemon)) << "which is no concern of another daemon";
    EXPECT_EQ(used(0), 1);
}

TEST_F(DaemonLimitsTest, ARuleForAnEntrySpeaksOfAllItStandsFor) {
    bind(kFleet, Unit::Requests, 2);
    EXPECT_TRUE(admit(kFirst, kFleet));
    EXPECT_TRUE(admit(kSecondDaemon, kFleet));
    EXPECT_FALSE(admit(kFirst, kFleet));
}

TEST_F(DaemonLimitsTest, AllOrNothing) {
    bind(kFirst, Unit::Requests, 5);
    bind(kFirst, Unit::Tokens, 15);
    EXPECT_TRUE(admit(kFirst));
    EXPECT_FALSE(admit(kFirst)) << "ten more tokens are too many";
    EXPECT_EQ(used(0), 1) << "so no request is charged";
    EXPECT_EQ(used(1), 10);
}

TEST_F(DaemonLimitsTest, WhatIsSoonestOverIsTold) {
    bind(kFirst, Unit::Requests, 1);
    bind(kSecondDaemon, Unit::Requests, 1);
    EXPECT_TRUE(admit(kFirst, 0, kNow));
    EXPECT_TRUE(admit(kSecondDaemon, 0, kNow + kSecond / 2));
    limits.refusal = {};
    EXPECT_FALSE(admit(kSecondDaemon, 0, kNow + kSecond / 2));
    EXPECT_FALSE(admit(kFirst, 0, kNow + kSecond / 2));
    EXPECT_EQ(limits.refusal.item, 0U);
    EXPECT_EQ(limits.refusal.wait_us, kSecond / 2);
    EXPECT_EQ(limits.refusal.left, 0);
    EXPECT_TRUE(admit(kFirst, 0, kNow + kSecond)) << "and then there is room";
}

TEST_F(DaemonLimitsTest, WhatDoesNotGoThereIsGivenBack) {
    bind(kFirst, Unit::Requests, 1);
    EXPECT_TRUE(admit(kFirst));
    limits.give_back(*limiter, kNow);
    EXPECT_EQ(used(0), 0);
    EXPECT_EQ(limits.charged, 0U);
    EXPECT_TRUE(admit(kFirst));
}

TEST_F(DaemonLimitsTest, TheSessionSettlesWhatWasCharged) {
    bind(kSecondDaemon, Unit::Requests, 1);
    bind(kFirst, Unit::Tokens, 100);
    EXPECT_TRUE(admit(kFirst));
    RateLimiter::Grant grant;
    limits.add_to(grant);
    ASSERT_EQ(grant.count, 1U);
    limiter->settle(grant, 3, {0, 1}, kNow, [](std::int32_t) {});
    EXPECT_EQ(used(1), 3);
}

TEST_F(DaemonLimitsTest, AMeterThatCountsForAnotherKeyAdmitsNothing) {
    bind(kFirst, Unit::Requests, 1);
    limits.items[0].limit.meter.generation++;
    EXPECT_FALSE(admit(kFirst));
    EXPECT_TRUE(limits.refusal.is_set && limits.refusal.is_stale);
}

}  // namespace
