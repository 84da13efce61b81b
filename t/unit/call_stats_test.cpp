// What is counted of calls: the sums that hold, resets and restores, many writers at once, a file that may be damaged.
#include "shmem/metrics.hpp"
#include "shmem/recent_calls.hpp"
#include "shmem/statement_stats.hpp"
#include "shmem/stats_file.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <thread>
#include <vector>

namespace {

using namespace steadytext::shmem;

constexpr std::uint32_t kProcesses = 4;

EndedCall call_of(CallKind kind, CallOutcome outcome, std::int64_t took_us = 1'000) {
    return {kind, outcome, false, {}, false, took_us, 3, 5, 0, {10, 20, 30, -1}};
}

// A structure of shared memory in memory of its own, aligned as the segment aligns it.
template <class Structure>
class Placed {
public:
    explicit Placed(std::uint32_t size)
        : memory_(std::aligned_alloc(kCacheLine, round_up(Structure::bytes_needed(size)))),
          it(Structure::place(memory_, size)) {}
    ~Placed() { std::free(memory_); }
    Placed(const Placed &) = delete;
    Placed &operator=(const Placed &) = delete;
    Structure *operator->() { return it; }
    Structure &operator*() { return *it; }

private:
    void *memory_;
    Structure *it;
};

const CallCounts<std::uint64_t> &generate(const CallTotals &totals) {
    return totals.kinds[static_cast<std::size_t>(CallKind::Generate)];
}

TEST(CallStats, CountsEachCallOnceByItsOutcome) {
    Placed<CallStats> stats(kProcesses);
    for (std::size_t outcome = 0; outcome < kCallOutcomes; outcome++)
        for (std::size_t times = 0; times <= outcome; times++)
            stats->count(static_cast<std::int32_t>(times % kProcesses),
                         call_of(CallKind::Generate, static_cast<CallOutcome>(outcome)));
    const CallTotals totals = stats->totals();
    const auto &counts = generate(totals);
    for (std::size_t outcome = 0; outcome < kCallOutcomes; outcome++)
        EXPECT_EQ(counts.outcomes[outcome], outcome + 1);
    EXPECT_EQ(counts.requests(), 45U);
    EXPECT_EQ(counts.sent(), 6U + 7 + 8 + 9);
}

TEST(CallStats, CountsTokensAndStagesOnlyOfWhatWasSent) {
    Placed<CallStats> stats(kProcesses);
    stats->count(0, call_of(CallKind::Embed, CallOutcome::Hit));
    stats->count(1, call_of(CallKind::Embed, CallOutcome::Ok));
    const CallTotals totals = stats->totals();
    const auto &counts = totals.kinds[static_cast<std::size_t>(CallKind::Embed)];
    EXPECT_EQ(counts.prompt_tokens, 3U);
    EXPECT_EQ(counts.completion_tokens, 5U);
    EXPECT_EQ(counts.stages[static_cast<std::size_t>(CallStage::Pool)].total_us, 20U);
    EXPECT_EQ(counts.stages[static_cast<std::size_t>(CallStage::Engine)].total_us, 0U)
        << "which the daemon did not tell";
    EXPECT_EQ(generate(totals).requests(), 0U);
}

TEST(CallStats, PutsATimeIntoTheFirstBucketThatIsNotShorter) {
    Placed<CallStats> stats(kProcesses);
    for (std::size_t i = 0; i < kTimeBounds.size(); i++) {
        stats->count(0, call_of(CallKind::Generate, CallOutcome::Hit, kTimeBounds[i]));
        stats->count(0, call_of(CallKind::Generate, CallOutcome::Hit, kTimeBounds[i] + 1));
    }
    stats->count(0, call_of(CallKind::Generate, CallOutcome::Hit, -5));
    const CallTotals totals = stats->totals();
    const auto &buckets = generate(totals).response_times[1].buckets;
    EXPECT_EQ(buckets[0], 2U);
    for (std::size_t i = 1; i < kTimeBounds.size(); i++)
        EXPECT_EQ(buckets[i], 2U);
    EXPECT_EQ(buckets[kTimeBounds.size()], 1U);
}

TEST(CallStats, ResetTakesAwayWhatWasAndRestoreBringsBack) {
    Placed<CallStats> stats(kProcesses);
    stats->count(1, call_of(CallKind::Generate, CallOutcome::Hit));
    const CallTotals before = stats->totals();
    stats->reset();
    EXPECT_EQ(generate(stats->totals()).requests(), 0U);
    stats->count(1, call_of(CallKind::Generate, CallOutcome::Ok));
    EXPECT_EQ(generate(stats->totals()).requests(), 1U);

    Placed<CallStats> next(kProcesses);
    next->restore(before);
    next->count(2, call_of(CallKind::Generate, CallOutcome::Hit));
    EXPECT_EQ(generate(next->totals()).requests(), 2U);
}

// Whenever it is looked at, and with resets meanwhile, no number is lost or below zero.
TEST(CallStats, HoldsUnderWritersAndResets) {
    constexpr std::uint64_t kCalls = 20'000;
    Placed<CallStats> stats(kProcesses);
    std::atomic<bool> done{false};
    std::vector<std::thread> writers;
    for (std::uint32_t process = 0; process < kProcesses; process++)
        writers.emplace_back([&, process] {
            for (std::uint64_t i = 0; i < kCalls; i++)
                stats->count(static_cast<std::int32_t>(process),
                             call_of(CallKind::Generate, static_cast<CallOutcome>(i % kCallOutcomes)));
        });
    std::thread resetter([&] {
        while (!done.load()) {
            stats->reset();
            const CallTotals totals = stats->totals();
            for (const std::uint64_t count : generate(totals).outcomes)
                EXPECT_LE(count, kCalls * kProcesses) << "a number below zero would be huge";
        }
    });
    for (std::thread &writer : writers)
        writer.join();
    done = true;
    resetter.join();
    stats->reset();
    EXPECT_EQ(generate(stats->totals()).requests(), 0U);
    EXPECT_EQ(generate(stats->totals()).response_times[0].total_us, 0U);
}

// ---- the last thousand ---------------------------------------------------------------------------------------------

TEST(RecentCalls, KeepsTheLastThousandOfEachRing) {
    const auto calls = std::make_unique<RecentCalls>();
    for (std::int64_t i = 1; i <= 2'500; i++)
        calls->add(7, {i, 2 * i, CallKind::Json, i % 2 == 0});
    std::vector<RecentCall> found(RecentCalls::kMost + 1);
    const std::size_t count = calls->copy(found.data());
    ASSERT_EQ(count, RecentCalls::kShown);
    for (std::size_t i = 0; i < count; i++) {
        EXPECT_GT(found[i].finished_us, 1'500);
        EXPECT_EQ(found[i].took_us, 2 * found[i].finished_us);
        EXPECT_EQ(found[i].success, found[i].finished_us % 2 == 0);
        EXPECT_EQ(found[i].kind, CallKind::Json);
    }
    calls->reset();
    EXPECT_EQ(calls->copy(found.data()), 0U);
}

TEST(RecentCalls, ShowsNoMixedEntryToAReader) {
    const auto calls = std::make_unique<RecentCalls>();
    std::atomic<bool> done{false};
    std::vector<std::thread> writers;
    for (std::uint32_t who = 0; who < 2; who++)
        writers.emplace_back([&, who] {
            for (std::int64_t i = 1; !done.load(); i++)
                calls->add(who, {i, 3 * i, CallKind::Embed, true});
        });
    std::vector<RecentCall> found(RecentCalls::kMost + 1);
    for (int look = 0; look < 200; look++) {
        const std::size_t count = calls->copy(found.data());
        for (std::size_t i = 0; i < count; i++)
            ASSERT_EQ(found[i].took_us, 3 * found[i].finished_us);
    }
    done = true;
    for (std::thread &writer : writers)
        writer.join();
}

// ---- by statement --------------------------------------------------------------------------------------------------

StatementKey key_of(std::uint32_t role, const char *model = "m") {
    StatementKey key;
    key.role = role;
    std::snprintf(key.model, sizeof key.model, "%s", model);
    return key;
}

StatementCounts counts_of(CallOutcome outcome, std::int64_t took_us) {
    StatementCounts counts;
    counts.add(call_of(CallKind::Generate, outcome, took_us));
    return counts;
}

std::vector<StatementStats::Entry> entries_of(StatementStats &stats) {
    std::vector<StatementStats::Entry> all;
    StatementStats::Entry some[StatementStats::kWays];
    for (std::uint32_t set = 0; set < stats.sets(); set++)
        all.insert(all.end(), some, some + stats.copy(set, some));
    return all;
}

TEST(StatementStats, SumsWhatHasOneKey) {
    Placed<StatementStats> stats(64);
    stats->add(key_of(1), counts_of(CallOutcome::Hit, 5));
    stats->add(key_of(1), counts_of(CallOutcome::Ok, 100));
    stats->add(key_of(1, "other"), counts_of(CallOutcome::Ok, 7));
    const auto entries = entries_of(*stats);
    ASSERT_EQ(entries.size(), 2U);
    const auto &both = entries[0].counts.calls == 2 ? entries[0] : entries[1];
    EXPECT_EQ(both.counts.calls, 2U);
    EXPECT_EQ(both.counts.hits, 1U);
    EXPECT_EQ(both.counts.completion_tokens, 5U);
    EXPECT_EQ(both.counts.min_us, 5);
    EXPECT_EQ(both.counts.max_us, 100);
    EXPECT_EQ(both.counts.total_us, 105);
    stats->reset();
    EXPECT_TRUE(entries_of(*stats).empty());
}

TEST(StatementStats, IsBoundedAndKeepsWhatIsBusy) {
    Placed<StatementStats> stats(64);
    for (std::uint32_t role = 1; role <= 10'000; role++) {
        stats->add(key_of(role), counts_of(CallOutcome::Hit, 1));
        for (int i = 0; i < 4; i++)
            stats->add(key_of(1), counts_of(CallOutcome::Hit, 1));
    }
    const auto entries = entries_of(*stats);
    EXPECT_EQ(entries.size(), 64U);
    EXPECT_EQ(stats->deallocations(), 10'000U - 64U);
    EXPECT_TRUE(std::any_of(entries.begin(), entries.end(),
                            [](const auto &entry) { return entry.key.role == 1 && entry.counts.calls == 40'001; }));
}

TEST(StatementStats, LosesNothingUnderWriters) {
    constexpr std::uint64_t kCalls = 5'000;
    Placed<StatementStats> stats(1024);
    std::vector<std::thread> writers;
    for (int writer = 0; writer < 4; writer++)
        writers.emplace_back([&] {
            for (std::uint32_t i = 0; i < kCalls; i++)
                stats->add(key_of(i % 10), counts_of(CallOutcome::Ok, 1));
        });
    for (std::thread &writer : writers)
        writer.join();
    std::uint64_t calls = 0;
    for (const auto &entry : entries_of(*stats))
        calls += entry.counts.calls;
    EXPECT_EQ(calls, 4 * kCalls);
}

// ---- on disk -------------------------------------------------------------------------------------------------------

class StatsFile : public testing::Test {
protected:
    StatsFile() { std::filesystem::create_directory(directory_); }
    ~StatsFile() override { std::filesystem::remove_all(directory_); }
    std::string directory_ = testing::TempDir() + "stats_file_test." + std::to_string(getpid());
    std::string path_ = directory_ + "/stats";
};

TEST_F(StatsFile, GivesBackWhatWasSaved) {
    Placed<CallStats> calls(kProcesses);
    const auto counters = std::make_unique<Counters>();
    calls->count(0, call_of(CallKind::Rerank, CallOutcome::TimedOut));
    counters->add(3, Counter::LateReplies, 17);
    ASSERT_TRUE(save_stats(path_.c_str(), take_stats(*calls, *counters)));

    Placed<CallStats> next_calls(kProcesses);
    const auto next_counters = std::make_unique<Counters>();
    SavedStats saved;
    ASSERT_TRUE(load_stats(path_.c_str(), saved));
    restore_stats(saved, *next_calls, *next_counters);
    EXPECT_EQ(next_calls->totals().kinds[static_cast<std::size_t>(CallKind::Rerank)].sent(), 1U);
    EXPECT_EQ(next_counters->sum(Counter::LateReplies), 17U);
}

TEST_F(StatsFile, RefusesWhatIsMissingShortOrChanged) {
    SavedStats saved;
    EXPECT_FALSE(load_stats(path_.c_str(), saved)) << "there is none";
    ASSERT_TRUE(save_stats(path_.c_str(), saved));
    const auto size = std::filesystem::file_size(path_);
    std::vector<char> bytes(size);
    std::ifstream(path_, std::ios::binary).read(bytes.data(), static_cast<std::streamsize>(size));
    for (const std::size_t changed : {std::size_t{0}, std::size_t{9}, size / 2, size - 1}) {
        std::vector<char> damaged = bytes;
        damaged[changed] = static_cast<char>(damaged[changed] ^ 1);
        std::ofstream(path_, std::ios::binary).write(damaged.data(), static_cast<std::streamsize>(size));
        EXPECT_FALSE(load_stats(path_.c_str(), saved)) << "byte " << changed << " is another";
    }
    std::filesystem::resize_file(path_, size - 1);
    EXPECT_FALSE(load_stats(path_.c_str(), saved)) << "it is cut short";
}

TEST_F(StatsFile, SaysWhenItCannotBeWritten) { EXPECT_FALSE(save_stats("/nowhere/at/all", SavedStats{})); }

// ---- as text -------------------------------------------------------------------------------------------------------

TEST(PrometheusText, EscapesLabelsAndNamesEachFamilyOnce) {
    constexpr MetricFamily family = {"things", "gauge", "Some things."};
    std::string text;
    write_prometheus({{&family, "", {{"name", "a\"b\\c\nd"}, {"le", "+Inf"}}, 0.5}, {&family, "_sum", {}, 1e9}}, text);
    EXPECT_EQ(text, "# HELP steadytext_things Some things.\n"
                    "# TYPE steadytext_things gauge\n"
                    "steadytext_things{name=\"a\\\"b\\\\c\\nd\",le=\"+Inf\"} 0.5\n"
                    "steadytext_things_sum 1e+09\n");
}

}  // namespace
