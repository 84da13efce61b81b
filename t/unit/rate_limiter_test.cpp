// The rate limiter: all limits or none, a meter for each key and never one too few, leases that end once, and sixteen
// who ask at once. Set STEADYTEXT_LONG_TESTS for ten seconds of the latter instead of half a one.
#include "shmem/rate_limiter.hpp"
#include "src/core/clock.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace {

using steadytext::core::monotonic_us;
using steadytext::shmem::RateLimiter;
using Grant = RateLimiter::Grant;
using Limit = RateLimiter::Limit;
using Unit = RateLimiter::Unit;
using Verdict = RateLimiter::Verdict;
using Numbers = std::vector<std::int32_t>;

constexpr std::int64_t kSecond = 1'000'000;
constexpr std::int64_t kNow = 100 * kSecond;
constexpr std::uint32_t kMeters = 16;
constexpr std::uint32_t kProcesses = 20;

RateLimiter::Caller process(std::int32_t number) { return {number, 1000 + number}; }
void nobody(std::int32_t who) { ADD_FAILURE() << "woke " << who; }

class RateLimiterTest : public testing::Test {
protected:
    ~RateLimiterTest() override { std::free(memory_); }

    static RateLimiter::Key key(std::uint32_t role, const char *subject = "*") {
        RateLimiter::Key key;
        key.database = 5;
        key.role = role;
        std::strcpy(key.subject, subject);
        return key;
    }
    Limit limit(std::uint32_t role, Unit unit, std::int64_t most, std::int64_t now_us = kNow) {
        Limit found{{}, unit, most, kSecond};
        EXPECT_TRUE(limiter->find(key(role, unit == Unit::Requests ? "r"
                                            : unit == Unit::Tokens ? "t"
                                                                   : "c"),
                                  now_us, found.meter));
        return found;
    }
    std::int64_t used(const Limit &of, std::int64_t now_us = kNow) {
        RateLimiter::Usage usage{};
        EXPECT_TRUE(limiter->peek(of, now_us, usage));
        return usage.used;
    }
    RateLimiter::Outcome admit(const std::vector<Limit> &limits, Grant &granted, RateLimiter::Demand demand = {},
                               std::int32_t who = 0, std::int64_t now_us = kNow) {
        return limiter->admit(limits, demand, process(who), now_us, granted);
    }

private:
    void *memory_ = std::aligned_alloc(64, RateLimiter::bytes_needed(kMeters, kProcesses));

protected:
    RateLimiter *limiter = RateLimiter::place(memory_, kMeters, kProcesses);
    Grant grant;
};

// ---- all or nothing ------------------------------------------------------------------------------------------------

TEST_F(RateLimiterTest, ChargesEveryLimitOrNone) {
    const std::vector<Limit> limits{limit(1, Unit::Requests, 10), limit(2, Unit::Requests, 3),
                                    limit(3, Unit::Tokens, 1000), limit(4, Unit::Concurrency, 8)};
    for (int i = 0; i < 3; i++)
        ASSERT_EQ(admit(limits, grant, {1, 100}).verdict, Verdict::Admitted);
    const RateLimiter::Outcome outcome = admit(limits, grant, {1, 100});
    EXPECT_EQ(outcome.verdict, Verdict::Refused);
    EXPECT_EQ(outcome.refused_by, 1U);
    EXPECT_EQ(outcome.left, 0);
    EXPECT_EQ(outcome.wait_us, kSecond);
    EXPECT_EQ(grant.count, 0U);
    EXPECT_EQ(used(limits[0]), 3) << "the refused call has used nothing";
    EXPECT_EQ(used(limits[2]), 300);
    EXPECT_EQ(used(limits[3]), 3);
}

TEST_F(RateLimiterTest, NamesTheLimitThatWillHoldLongest) {
    const std::vector<Limit> limits{limit(1, Unit::Concurrency, 1), limit(2, Unit::Requests, 1),
                                    limit(3, Unit::Tokens, 10)};
    (void)admit({limits[0], limits[1]}, grant, {}, 0, kNow - 300'000);
    RateLimiter::Outcome outcome = admit(limits, grant, {1, 5});
    EXPECT_EQ(outcome.refused_by, 1U);
    EXPECT_EQ(outcome.wait_us, 700'000);
    outcome = admit(limits, grant, {1, 11});
    EXPECT_EQ(outcome.refused_by, 2U) << "one that never admits it";
    EXPECT_EQ(outcome.wait_us, RateLimiter::kNever);
    EXPECT_EQ(outcome.left, 10);
}

TEST_F(RateLimiterTest, LooksWithoutUsing) {
    const Limit requests = limit(1, Unit::Requests, 2);
    for (int i = 0; i < 5; i++)
        EXPECT_EQ(used(requests), 0);
    (void)admit({requests}, grant, {2, 0});
    (void)admit({requests}, grant);
    RateLimiter::Usage usage{};
    ASSERT_TRUE(limiter->peek(requests, kNow + 400'000, usage));
    EXPECT_EQ(usage.used, 2);
    EXPECT_EQ(usage.refused, 1U);
    EXPECT_EQ(usage.wait_us, 600'000);
    limiter->reset(requests.meter);
    EXPECT_EQ(used(requests), 0);
    EXPECT_EQ(admit({requests}, grant, {2, 0}).verdict, Verdict::Admitted);
}

TEST_F(RateLimiterTest, ObeysAnotherLimitFromTheNextCallOn) {
    Limit requests = limit(1, Unit::Requests, 5);
    (void)admit({requests}, grant, {4, 0});
    requests.most = 3;
    EXPECT_EQ(admit({requests}, grant).verdict, Verdict::Refused);
    requests.most = 5;
    EXPECT_EQ(admit({requests}, grant).verdict, Verdict::Admitted) << "what was used is remembered";
    EXPECT_EQ(admit({requests}, grant).verdict, Verdict::Refused);
}

// ---- tokens --------------------------------------------------------------------------------------------------------

TEST_F(RateLimiterTest, SettlesTokensWithWhatWasUsed) {
    const Limit tokens = limit(1, Unit::Tokens, 1000);
    ASSERT_EQ(admit({tokens}, grant, {1, 800}).verdict, Verdict::Admitted);
    Grant second;
    EXPECT_EQ(admit({tokens}, second, {1, 800}).verdict, Verdict::Refused) << "the estimate is reserved";
    limiter->settle(grant, 50, process(0), kNow + 100, nobody);
    EXPECT_EQ(used(tokens), 50);
    EXPECT_EQ(grant.count, 0U);
    limiter->settle(grant, 0, process(0), kNow + 100, nobody);
    EXPECT_EQ(used(tokens), 50) << "once";
    ASSERT_EQ(admit({tokens}, second, {1, 800}).verdict, Verdict::Admitted);
    limiter->settle(second, 3000, process(0), kNow + 100, nobody);
    EXPECT_EQ(used(tokens), 3050) << "what was used beyond the estimate, and the limit, is charged";
    EXPECT_EQ(admit({tokens}, grant, {1, 1}).verdict, Verdict::Refused);
    EXPECT_EQ(used(tokens, kNow + 100 + kSecond), 0);
}

TEST_F(RateLimiterTest, KeepsTheEstimateOfACallThatEndedInTheDark) {
    const Limit tokens = limit(1, Unit::Tokens, 1000);
    ASSERT_EQ(admit({tokens}, grant, {1, 800}).verdict, Verdict::Admitted);
    limiter->end(grant, process(0), nobody);
    EXPECT_EQ(used(tokens), 800);
}

TEST_F(RateLimiterTest, GivesNothingBackToAMeterThatIsAnothersNow) {
    const Limit tokens = limit(1, Unit::Tokens, 1000);
    ASSERT_EQ(admit({tokens}, grant, {1, 800}).verdict, Verdict::Admitted);
    for (std::uint32_t role = 2; role <= kMeters; role++)
        (void)limit(role, Unit::Tokens, 1000);
    const std::int64_t later_us = kNow + kSecond;
    const Limit taken = limit(99, Unit::Tokens, 1000, later_us);
    ASSERT_EQ(taken.meter.index, tokens.meter.index);
    (void)limiter->admit(std::vector<Limit>{taken}, {1, 500}, process(1), later_us, grant);
    Grant old;
    old.count = 1;
    old.items[0] = {tokens, 800, 0, 0};
    limiter->settle(old, 0, process(0), later_us, nobody);
    limiter->settle(old, 9000, process(0), later_us, nobody);
    EXPECT_EQ(used(taken, later_us), 500);
}

// ---- meters --------------------------------------------------------------------------------------------------------

TEST_F(RateLimiterTest, HasOneMeterForEachKey) {
    std::set<std::uint32_t> indexes;
    for (const char *subject : {"*", "embed", "model:m"})
        for (std::uint32_t role : {0U, 1U, 2U}) {
            RateLimiter::MeterId first, again;
            ASSERT_TRUE(limiter->find(key(role, subject), kNow, first));
            ASSERT_TRUE(limiter->find(key(role, subject), kNow, again));
            EXPECT_EQ(first.index, again.index);
            EXPECT_EQ(first.generation, again.generation);
            EXPECT_TRUE(indexes.insert(first.index).second);
        }
    RateLimiter::Key described;
    RateLimiter::MeterId meter;
    ASSERT_TRUE(limiter->describe(4, described, meter));
    EXPECT_TRUE(described == key(1, "embed"));
    EXPECT_FALSE(limiter->describe(9, described, meter));
}

TEST_F(RateLimiterTest, RefusesAKeyWhenAllMetersSaySomething) {
    std::vector<Limit> all;
    for (std::uint32_t role = 1; role <= kMeters; role++) {
        all.push_back(limit(role, Unit::Requests, 10));
        (void)admit({all.back()}, grant, {1, 0}, 0, kNow + role);
    }
    RateLimiter::MeterId meter;
    EXPECT_FALSE(limiter->find(key(99), kNow + kSecond, meter)) << "the first one's window ends a microsecond later";
    ASSERT_TRUE(limiter->find(key(99), kNow + kSecond + 1, meter));
    EXPECT_EQ(meter.index, all[0].meter.index);
    (void)admit({{meter, Unit::Requests, 10, kSecond}}, grant, {}, 0, kNow + kSecond + 1);
    EXPECT_EQ(admit({all[0]}, grant).verdict, Verdict::Stale) << "who remembers the meter is told";
    RateLimiter::Usage usage;
    EXPECT_FALSE(limiter->peek(all[0], kNow, usage));
    ASSERT_FALSE(limiter->find(key(1, "r"), kNow + kSecond + 1, meter)) << "and gets another, if there is one";
    EXPECT_TRUE(limiter->find(key(1, "r"), kNow + kSecond + 2, meter));
}

// One with many rules, or one database with many, leaves meters to others; what it has that says nothing is given to it
// again.
TEST(RateLimiter, LeavesMetersToOtherRolesAndDatabases) {
    constexpr std::uint32_t kMany = 400;
    void *memory = std::aligned_alloc(64, RateLimiter::bytes_needed(kMany, kProcesses));
    RateLimiter *limiter = RateLimiter::place(memory, kMany, kProcesses);
    Grant grant;
    const auto take = [&](std::uint32_t database, std::uint32_t role, std::uint32_t rule, std::int64_t now_us) {
        RateLimiter::Key key;
        key.database = database;
        key.role = role;
        key.rule = rule;
        RateLimiter::MeterId meter;
        if (!limiter->find(key, now_us, meter))
            return false;
        const Limit limit{meter, Unit::Requests, 10, kSecond};
        (void)limiter->admit({&limit, 1}, {}, process(0), now_us, grant);
        return true;
    };
    std::uint32_t taken = 0;
    while (take(5, 1, taken, kNow))
        taken++;
    EXPECT_EQ(taken, kMany / 4) << "of one role";
    for (std::uint32_t role = 2; take(5, role, 1, kNow); role++)
        taken++;
    EXPECT_EQ(taken, kMany / 4 * 3) << "of one database";
    for (std::uint32_t role = 2; role < 2 + kMany / 4; role++)
        EXPECT_TRUE(take(6, role, 1, kNow)) << "the rest is there for others";
    EXPECT_FALSE(take(6, 2, 2, kNow)) << "until all are taken";
    EXPECT_TRUE(take(5, 1, kMany, kNow + 2 * kSecond)) << "a role gets one of its own that says nothing";
    std::free(memory);
}

TEST_F(RateLimiterTest, KeepsTheMeterOfACallUnderWay) {
    const Limit calls = limit(1, Unit::Concurrency, 1);
    ASSERT_EQ(admit({calls}, grant).verdict, Verdict::Admitted);
    for (std::uint32_t role = 2; role <= 3 * kMeters; role++)
        (void)limit(role, Unit::Requests, 10);
    EXPECT_EQ(used(calls), 1);
    limiter->end(grant, process(0), nobody);
    EXPECT_EQ(used(calls), 0);
}

// ---- concurrency ---------------------------------------------------------------------------------------------------

TEST_F(RateLimiterTest, CountsCallsUnderWay) {
    const Limit calls = limit(1, Unit::Concurrency, 2);
    Grant first, second;
    ASSERT_EQ(admit({calls}, first, {}, 1).verdict, Verdict::Admitted);
    ASSERT_EQ(admit({calls}, second, {}, 2).verdict, Verdict::Admitted);
    const RateLimiter::Outcome outcome = admit({calls}, grant, {}, 3, kNow + 3600 * kSecond);
    EXPECT_EQ(outcome.verdict, Verdict::Refused) << "however long they take";
    EXPECT_EQ(outcome.left, 0);
    limiter->settle(first, 10, process(1), kNow, nobody);
    EXPECT_EQ(admit({calls}, grant, {}, 3).verdict, Verdict::Admitted);
}

TEST_F(RateLimiterTest, WakesThoseWhoWatch) {
    const Limit calls = limit(1, Unit::Concurrency, 1);
    const Limit others = limit(2, Unit::Concurrency, 1);
    ASSERT_EQ(admit({calls}, grant, {}, 1).verdict, Verdict::Admitted);
    limiter->watch(calls.meter, process(3));
    limiter->watch(calls.meter, process(4));
    limiter->watch(others.meter, process(5));
    Numbers woken;
    limiter->end(grant, process(1), [&](std::int32_t who) { woken.push_back(who); });
    EXPECT_EQ(woken, (Numbers{3, 4}));
    ASSERT_EQ(admit({calls}, grant, {}, 3).verdict, Verdict::Admitted);
    limiter->end(grant, process(3), nobody);
}

TEST_F(RateLimiterTest, SweepsTheLeasesOfTheDead) {
    const Limit calls = limit(1, Unit::Concurrency, 3);
    Grant of_the_dead, of_the_living;
    ASSERT_EQ(admit({calls}, of_the_dead, {}, 7).verdict, Verdict::Admitted);
    ASSERT_EQ(admit({calls}, of_the_living, {}, 8).verdict, Verdict::Admitted);
    limiter->watch(calls.meter, process(3));
    Numbers woken;
    const auto wake = [&](std::int32_t who) { woken.push_back(who); };
    const auto is_alive = [](std::int32_t number, std::int32_t pid) { return number != 7 && pid == 1000 + number; };
    EXPECT_EQ(limiter->sweep(is_alive, wake), 1U);
    EXPECT_EQ(woken, Numbers{3});
    EXPECT_EQ(used(calls), 1);
    EXPECT_EQ(limiter->sweep(is_alive, wake), 0U);
    limiter->end(of_the_dead, process(7), nobody);
    EXPECT_EQ(used(calls), 1) << "a lease ends once";
    limiter->end(of_the_living, process(8), nobody);
    EXPECT_EQ(used(calls), 0);
}

TEST_F(RateLimiterTest, EndsWhatTheSeatsLastProcessLeft) {
    const Limit calls = limit(1, Unit::Concurrency, 1);
    const Limit more = limit(2, Unit::Concurrency, 100);
    ASSERT_EQ(admit({calls}, grant, {}, 7).verdict, Verdict::Admitted);
    Grant successor;
    EXPECT_EQ(limiter->admit(std::vector<Limit>{more}, {}, {7, 5555}, kNow, successor).verdict, Verdict::Admitted);
    EXPECT_EQ(used(calls), 0);
    EXPECT_EQ(used(more), 1);
}

TEST_F(RateLimiterTest, RefusesMoreCallsThanASeatHasLeasesFor) {
    const Limit calls = limit(1, Unit::Concurrency, 1000);
    std::deque<Grant> grants;
    while (admit({calls}, grants.emplace_back(), {}, 2).verdict == Verdict::Admitted)
        ASSERT_LT(grants.size(), 1000U);
    EXPECT_EQ(admit({calls}, grant, {}, 2).verdict, Verdict::NoLeases);
    EXPECT_EQ(admit({calls}, grant, {}, 3).verdict, Verdict::Admitted) << "others have their own";
    for (Grant &each : grants)
        limiter->end(each, process(2), nobody);
    EXPECT_EQ(used(calls), 1);
}

// ---- many at once --------------------------------------------------------------------------------------------------

struct Asked {
    std::int64_t at_us;
    bool admitted;
};

// What a log of everything would admit of the same requests.
std::int64_t admitted_by_log(const std::vector<Asked> &asked, std::int64_t most, std::int64_t window_us) {
    std::deque<std::int64_t> log;
    std::int64_t admitted = 0;
    for (const Asked &each : asked) {
        while (!log.empty() && log.front() <= each.at_us - window_us)
            log.pop_front();
        if (log.size() == static_cast<std::size_t>(most))
            continue;
        log.push_back(each.at_us);
        admitted++;
    }
    return admitted;
}

TEST_F(RateLimiterTest, HoldsWhileSixteenHammerOneKey) {
    const bool is_long = std::getenv("STEADYTEXT_LONG_TESTS") != nullptr;
    const std::int64_t run_us = is_long ? 10 * kSecond : kSecond / 2;
    constexpr int kAskers = 16;
    constexpr std::int64_t kMost = 500;
    constexpr std::int64_t kWindowUs = 50'000;
    Limit hammered{{}, Unit::Requests, kMost, kWindowUs};
    Limit roomy{{}, Unit::Requests, 1'000'000'000, kSecond};
    ASSERT_TRUE(limiter->find(key(1), monotonic_us(), hammered.meter));
    ASSERT_TRUE(limiter->find(key(2), monotonic_us(), roomy.meter));
    const std::vector<Limit> limits{hammered, roomy};

    std::vector<std::vector<Asked>> asked(kAskers);
    std::vector<std::thread> askers;
    const std::int64_t until_us = monotonic_us() + run_us;
    for (int i = 0; i < kAskers; i++)
        askers.emplace_back([&, i] {
            Grant mine;
            for (std::int64_t now_us; (now_us = monotonic_us()) < until_us;) {
                const RateLimiter::Outcome outcome = limiter->admit(limits, {}, process(i), now_us, mine);
                const bool admitted = outcome.verdict == Verdict::Admitted;
                std::vector<Asked> &log = asked[static_cast<std::size_t>(i)];
                if (admitted || log.empty() || log.back().admitted ||
                    outcome.at_us - log.back().at_us > 20)  // enough to judge by
                    log.push_back({outcome.at_us, admitted});
            }
        });
    for (std::thread &each : askers)
        each.join();

    std::vector<Asked> all;
    for (const std::vector<Asked> &each : asked)
        all.insert(all.end(), each.begin(), each.end());
    std::sort(all.begin(), all.end(), [](const Asked &a, const Asked &b) { return a.at_us < b.at_us; });
    std::vector<std::int64_t> times;
    for (const Asked &each : all)
        if (each.admitted)
            times.push_back(each.at_us);
    for (std::size_t i = kMost; i < times.size(); i++)
        ASSERT_GE(times[i] - times[i - kMost], kWindowUs)
            << "window with more than the limit, ending with admission " << i;
    const std::int64_t by_log = admitted_by_log(all, kMost, kWindowUs);
    EXPECT_GE(static_cast<double>(times.size()), 0.98 * static_cast<double>(by_log));
    EXPECT_GE(times.size(), static_cast<std::size_t>(kMost)) << "it was saturated";
    EXPECT_EQ(used(roomy, monotonic_us() + 2 * kSecond), 0);
    if (is_long)
        std::printf("%zu admitted of %zu that a log of everything admits, %zu asked\n", times.size(),
                    static_cast<std::size_t>(by_log), all.size());
}

TEST_F(RateLimiterTest, CountsCallsOfManyAtOnceRight) {
    const bool is_long = std::getenv("STEADYTEXT_LONG_TESTS") != nullptr;
    constexpr int kAskers = 8;
    const Limit calls = limit(1, Unit::Concurrency, 3);
    const Limit tokens = limit(2, Unit::Tokens, 1'000'000'000);
    const std::vector<Limit> limits{calls, tokens};
    std::atomic<int> under_way{0}, most{0};
    std::vector<std::thread> askers;
    for (int i = 0; i < kAskers; i++)
        askers.emplace_back([&, i] {
            Grant mine;
            for (int round = 0; round < (is_long ? 500'000 : 20'000); round++) {
                if (limiter->admit(limits, {1, 10}, process(i), kNow, mine).verdict != Verdict::Admitted)
                    continue;
                const int now = under_way.fetch_add(1) + 1;
                for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);)
                    ;
                under_way.fetch_sub(1);
                limiter->settle(mine, 0, process(i), kNow, [](std::int32_t) {});
            }
        });
    for (std::thread &each : askers)
        each.join();
    EXPECT_LE(most, 3);
    EXPECT_EQ(used(calls), 0);
    EXPECT_EQ(used(tokens), 0);
}

}  // namespace
