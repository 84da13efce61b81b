// Usage in shared memory: sums by key, taken out once, kept in a file between two lives; a meter's history.
#include "shmem/rate_limiter.hpp"
#include "shmem/usage.hpp"
#include "shmem/usage_file.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

using namespace steadytext::shmem;

namespace {

UsageKey key_of(std::uint32_t role, std::uint32_t database = 5) {
    UsageKey key;
    key.role = role;
    key.database = database;
    key.day = 20'000;
    return key;
}

StatementCounts calls(std::uint64_t count) {
    StatementCounts counts;
    counts.calls = count;
    counts.prompt_tokens = 3 * count;
    return counts;
}

std::map<std::uint32_t, std::uint64_t> take_all(Usage &usage, std::uint32_t database) {
    std::vector<Usage::Entry> entries(100);
    std::map<std::uint32_t, std::uint64_t> by_role;
    while (const std::uint32_t count = usage.take(database, entries.data(), 100))
        for (std::uint32_t i = 0; i < count; i++)
            by_role[entries[i].key.role] += entries[i].counts.calls;
    return by_role;
}

TEST(Usage, SumsByKeyAndIsTakenOnce) {
    auto usage = std::make_unique<Usage>();
    ASSERT_TRUE(usage->add(key_of(1), calls(2)));
    ASSERT_TRUE(usage->add(key_of(1), calls(3)));
    ASSERT_TRUE(usage->add(key_of(2), calls(1)));
    ASSERT_TRUE(usage->add(key_of(1, 6), calls(7)));
    EXPECT_EQ(take_all(*usage, 5), (std::map<std::uint32_t, std::uint64_t>{{1, 5}, {2, 1}}));
    EXPECT_TRUE(take_all(*usage, 5).empty());
    EXPECT_EQ(take_all(*usage, 6), (std::map<std::uint32_t, std::uint64_t>{{1, 7}}));
}

TEST(Usage, HoldsAsManyKeysAsItHasEntriesAndRefusesMore) {
    auto usage = std::make_unique<Usage>();
    for (std::uint32_t role = 1; role <= Usage::kEntries; role++)
        ASSERT_TRUE(usage->add(key_of(role), calls(1)));
    EXPECT_FALSE(usage->add(key_of(Usage::kEntries + 1), calls(1)));
    EXPECT_TRUE(usage->add(key_of(7), calls(1)));  // one that is there
    EXPECT_EQ(take_all(*usage, 5).size(), Usage::kEntries);
}

UsageKey with_model(UsageKey key, std::uint32_t number) {
    std::snprintf(key.model, sizeof key.model, "model %u", number);
    return key;
}

TEST(Usage, OneRolesModelsLeaveRoomForOthersAndNothingIsLost) {
    auto usage = std::make_unique<Usage>();
    for (std::uint32_t i = 0; i < 2 * Usage::kEntries; i++)
        ASSERT_TRUE(usage->add(with_model(key_of(1), i), calls(1)));
    EXPECT_TRUE(usage->add(with_model(key_of(2), 1), calls(5)));
    EXPECT_TRUE(usage->add(key_of(3), calls(6)));
    std::vector<Usage::Entry> entries(Usage::kEntries);
    const std::uint32_t count = usage->copy(entries.data());
    EXPECT_LT(count, Usage::kEntries);
    std::uint64_t without_model = 0;
    bool others_model_is_told = false;
    for (std::uint32_t i = 0; i < count; i++) {
        without_model += entries[i].key.role == 1 && entries[i].key.model[0] == '\0' ? entries[i].counts.calls : 0;
        others_model_is_told |= entries[i].key == with_model(key_of(2), 1);
    }
    EXPECT_GT(without_model, Usage::kEntries);
    EXPECT_TRUE(others_model_is_told);
    EXPECT_EQ(take_all(*usage, 5), (std::map<std::uint32_t, std::uint64_t>{{1, 2 * Usage::kEntries}, {2, 5}, {3, 6}}));
    // What was taken out is nobody's any more.
    ASSERT_TRUE(usage->add(with_model(key_of(1), 1), calls(1)));
    ASSERT_EQ(usage->copy(entries.data()), 1U);
    EXPECT_EQ(entries[0].key, with_model(key_of(1), 1));
}

TEST(Usage, LosesNothingBetweenSessionsAndTheKeeper) {
    auto usage = std::make_unique<Usage>();
    constexpr std::uint64_t kEach = 20'000;
    std::vector<std::thread> sessions;
    for (int i = 0; i < 3; i++)
        sessions.emplace_back([&] {
            for (std::uint64_t n = 0; n < kEach; n++)
                EXPECT_TRUE(usage->add(key_of(n % 40), calls(1)));
        });
    std::uint64_t taken = 0;
    const auto take = [&] {
        for (const auto &[role, count] : take_all(*usage, 5))
            taken += count;
    };
    for (int i = 0; i < 200; i++)
        take();
    for (std::thread &session : sessions)
        session.join();
    take();
    EXPECT_EQ(taken, 3 * kEach);
}

TEST(UsageFile, GivesBackWhatWasSavedAndNothingElse) {
    auto usage = std::make_unique<Usage>();
    ASSERT_TRUE(usage->add(key_of(1), calls(2)));
    ASSERT_TRUE(usage->add(key_of(2), calls(9)));
    std::vector<Usage::Entry> entries(Usage::kEntries);
    const std::uint32_t count = usage->copy(entries.data());
    const std::string path = testing::TempDir() + "usage_file_test";
    ASSERT_TRUE(save_usage(path.c_str(), entries.data(), count));
    std::vector<Usage::Entry> loaded(Usage::kEntries);
    ASSERT_EQ(load_usage(path.c_str(), loaded.data()), 2U);
    EXPECT_EQ(loaded[0].counts.calls + loaded[1].counts.calls, 11U);
    std::FILE *file = std::fopen(path.c_str(), "r+");
    std::fseek(file, 100, SEEK_SET);
    std::fputc('x', file);
    std::fclose(file);
    EXPECT_EQ(load_usage(path.c_str(), loaded.data()), 0U);  // damaged
    std::remove(path.c_str());
    EXPECT_EQ(load_usage(path.c_str(), loaded.data()), 0U);  // none
}

TEST(RateLimiter, BudgetBeginsWithItsHistory) {
    std::vector<char> memory(RateLimiter::bytes_needed(4, 2) + 64);
    auto *place = reinterpret_cast<char *>((reinterpret_cast<std::uintptr_t>(memory.data()) + 63) / 64 * 64);
    RateLimiter *limiter = RateLimiter::place(place, 4, 2);
    constexpr std::int64_t kDay = 86'400'000'000;
    constexpr std::int64_t kNow = kDay;  // the machine is up for a day; history is older
    RateLimiter::MeterId meter;
    ASSERT_TRUE(limiter->find({5, 1, 1, "*"}, kNow, meter));
    EXPECT_FALSE(limiter->has_history(meter));
    const RateLimiter::Past history[] = {{100, kNow - 6 * kDay}, {50, kNow - kDay}};
    limiter->add_history(meter, history, 7 * kDay, kNow);
    limiter->add_history(meter, history, 7 * kDay, kNow);  // the second who found none adds nothing
    EXPECT_TRUE(limiter->has_history(meter));
    const RateLimiter::Limit limit{meter, RateLimiter::Unit::Tokens, 200, 7 * kDay};
    RateLimiter::Usage used;
    ASSERT_TRUE(limiter->peek(limit, kNow, used));
    EXPECT_EQ(used.used, 150);
    RateLimiter::Grant grant;
    const RateLimiter::Limit limits[] = {limit};
    EXPECT_EQ(limiter->admit(limits, {1, 60}, {0, 1}, kNow, grant).verdict, RateLimiter::Verdict::Refused);
    EXPECT_EQ(limiter->admit(limits, {1, 50}, {0, 1}, kNow, grant).verdict, RateLimiter::Verdict::Admitted);
    ASSERT_TRUE(limiter->peek(limit, kNow + 2 * kDay, used));
    EXPECT_EQ(used.used, 100);  // the oldest has left
}

}  // namespace
