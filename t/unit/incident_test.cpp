// When incidents open and close: the hysteresis, and what each condition measures.
#include "src/core/incident.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>

using namespace steadytext::core;

namespace {

constexpr std::int64_t kSecond = 1'000'000;
constexpr std::int64_t kDelay = 10 * kSecond;

double measure(ConditionId id, const Vitals &then, const Vitals &now, std::size_t daemon = 0) {
    return condition(id).measure(then, now, daemon);
}

// Goes through values, one a second; how often the incident opened and closed.
struct Walk {
    IncidentState state;
    std::int64_t now_us = kSecond;
    int opened = 0, closed = 0;
    void go(double value, int times) {
        for (int i = 0; i < times; i++, now_us += kSecond) {
            const IncidentTurn turn = step(state, condition(ConditionId::ErrorRate), value, now_us, kDelay);
            opened += turn == IncidentTurn::Opens;
            closed += turn == IncidentTurn::Closes;
        }
    }
};

TEST(Incident, OpensWhenItsValueHoldsForTheDelay) {
    Walk walk;
    walk.go(0.05, 10);
    EXPECT_FALSE(walk.state.open);
    walk.go(0.05, 1);
    EXPECT_TRUE(walk.state.open);
    walk.go(0.9, 100);
    EXPECT_EQ(walk.opened, 1);
}

TEST(Incident, OneGoodSecondBeginsTheDelayAnew) {
    Walk walk;
    for (int i = 0; i < 20; i++) {
        walk.go(0.5, 10);
        walk.go(0.049, 1);
    }
    EXPECT_EQ(walk.opened, 0);
}

TEST(Incident, BetweenTheTwoThresholdsItStaysWhatItIs) {
    Walk walk;
    walk.go(0.03, 100);
    EXPECT_EQ(walk.opened, 0);
    walk.go(0.05, 20);
    walk.go(0.03, 100);
    EXPECT_TRUE(walk.state.open);
    walk.go(0.01, 10);
    walk.go(0.03, 1);
    walk.go(0.01, 10);
    EXPECT_TRUE(walk.state.open);  // not below for the delay without a break
    walk.go(0.01, 1);
    EXPECT_FALSE(walk.state.open);
    EXPECT_EQ(walk.closed, 1);
}

TEST(Incident, ConditionsHaveNamesOfTheirOwnAndCloseNoHigherThanTheyOpen) {
    std::set<std::string> names;
    for (const Condition &each : kConditions) {
        EXPECT_TRUE(names.insert(each.name).second);
        EXPECT_LE(each.closes_below, each.opens_at) << each.name;
        EXPECT_EQ(each.measure(Vitals{}, Vitals{}, 0), 0) << each.name << " of a server where nothing happened";
    }
}

TEST(Incident, SharesNeedSomeCallsAndSurviveAReset) {
    Vitals then, now;
    now.requests = 9;
    now.failed = 9;
    EXPECT_EQ(measure(ConditionId::ErrorRate, then, now), 0);
    now.requests = 100;
    EXPECT_DOUBLE_EQ(measure(ConditionId::ErrorRate, then, now), 0.09);
    then.requests = 1'000'000;  // before the reset
    EXPECT_DOUBLE_EQ(measure(ConditionId::ErrorRate, then, now), 0.09);
    now.limited = 30;
    EXPECT_DOUBLE_EQ(measure(ConditionId::LimitStorm, then, now), 0.3);
    now.uncached = 50;
    now.slow = 10;
    EXPECT_DOUBLE_EQ(measure(ConditionId::Latency, then, now), 0.2);
}

TEST(Incident, DaemonsHaveTheirOwn) {
    Vitals then, now;
    now.daemons[3].down = true;
    then.daemons[5].breaker_opened = 2;
    now.daemons[5].breaker_opened = 6;
    EXPECT_EQ(measure(ConditionId::DaemonDown, then, now, 3), 1);
    EXPECT_EQ(measure(ConditionId::DaemonDown, then, now, 5), 0);
    EXPECT_EQ(measure(ConditionId::BreakerFlapping, then, now, 5), 4);
}

TEST(Incident, ACacheThatEvictsAndHitsIsBusyNotThrashing) {
    Vitals then, now;
    now.at_us = 60 * kSecond;
    now.evictions = 600;
    now.hits = 6'000;
    EXPECT_LT(measure(ConditionId::CacheThrash, then, now), condition(ConditionId::CacheThrash).closes_below);
    now.hits = 60;
    EXPECT_EQ(measure(ConditionId::CacheThrash, then, now), 10);
    now.evictions = 60;  // one a second
    EXPECT_EQ(measure(ConditionId::CacheThrash, then, now), 0);
}

TEST(Incident, ARoleThatCallsAloneIsNamed) {
    Vitals then, now;
    EXPECT_EQ(lone_role(then, now), 0) << "none calls";
    now.roles[3] = {20, 20, 77};
    EXPECT_EQ(lone_role(then, now), 77);
    now.roles[5] = {1, 0, 78};
    EXPECT_EQ(lone_role(then, now), 0) << "two call";
    then = now;
    now.roles[3].asked++;
    EXPECT_EQ(lone_role(then, now), 77) << "one of them has not called lately";
}

// A daemon that moved into the row of one whose breaker opened again and again has opened none.
TEST(Incident, ABreakerOpenedByAnotherDaemonOfTheRowDoesNotCount) {
    Vitals then, now;
    then.daemons[2] = {false, 40, 1};
    now.daemons[2] = {false, 44, 1};
    EXPECT_EQ(measure(ConditionId::BreakerFlapping, then, now, 2), 4);
    now.daemons[2] = {false, 0, 2};
    EXPECT_EQ(measure(ConditionId::BreakerFlapping, then, now, 2), 0);
    then.daemons[2] = {false, 0, 1};
    now.daemons[2] = {false, 3, 2};
    EXPECT_EQ(measure(ConditionId::BreakerFlapping, then, now, 2), 3) << "all of them since it moved in";
}

// Thirty calls with a deadline of a millisecond, prompts that no model takes: one role's doing.
TEST(Incident, OneRolesFailuresAreNoneOfTheServersAsLongAsOthersTell) {
    Vitals then, now;
    now.requests = 130;
    now.failed = 30;
    now.roles[3] = {30, 30};
    now.roles[5] = {100, 0};
    EXPECT_EQ(measure(ConditionId::ErrorRate, then, now), 0);
    now.roles[5] = {100, 10};
    EXPECT_DOUBLE_EQ(measure(ConditionId::ErrorRate, then, now), 0.1);
    now.roles[5] = {1, 0};
    EXPECT_EQ(measure(ConditionId::ErrorRate, then, now), 0) << "one call that was answered tells enough";
    now.roles[5] = {0, 0};
    EXPECT_DOUBLE_EQ(measure(ConditionId::ErrorRate, then, now), 30.0 / 130) << "nobody else asks";
}

}  // namespace
