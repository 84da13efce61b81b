// Records on their way to the keeper: each is taken once, by its own database's keeper, and none is lost or mixed up.
#include "shmem/cache_epochs.hpp"
#include "shmem/cache_writes.hpp"
#include "shmem/database_table.hpp"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace steadytext::shmem;

constexpr std::size_t kPayloadBytes = 64 * PayloadPool::kChunkBytes;

class CacheWritesTest : public ::testing::Test {
protected:
    CacheWritesTest()
        : memory_(
              static_cast<char *>(std::aligned_alloc(kCacheLine, round_up(CacheWrites::bytes_needed(kPayloadBytes)))),
              &std::free),
          writes(*CacheWrites::place(memory_.get(), kPayloadBytes)) {}

    std::string text_of(std::uint32_t index) {
        std::string text(writes.size(index), '\0');
        EXPECT_TRUE(writes.copy_out(index, text.data()));
        return text;
    }
    // Takes and settles all records of a database.
    std::vector<std::string> drain(std::uint32_t database) {
        std::vector<std::string> texts;
        for (std::uint32_t index = 0; writes.take(database, index); index++) {
            texts.push_back(text_of(index));
            writes.finish(index);
        }
        return texts;
    }

private:
    std::unique_ptr<char, decltype(&std::free)> memory_;

protected:
    CacheWrites &writes;
};

TEST_F(CacheWritesTest, ARecordGoesToItsDatabaseOnce) {
    ASSERT_TRUE(writes.put(1, 1, "for one"));
    ASSERT_TRUE(writes.put(2, 1, "for two"));
    EXPECT_EQ(drain(2), std::vector<std::string>{"for two"});
    EXPECT_EQ(drain(2), std::vector<std::string>{});
    EXPECT_EQ(drain(1), std::vector<std::string>{"for one"});
}

TEST_F(CacheWritesTest, AFullTableRefusesAndRecovers) {
    std::uint32_t put = 0;
    while (writes.put(1, 1, "x"))
        put++;
    EXPECT_EQ(put, writes.capacity());
    EXPECT_EQ(drain(1).size(), put);
    EXPECT_TRUE(writes.put(1, 1, "again"));
}

TEST_F(CacheWritesTest, ATextTooLargeForThePoolTakesNoRecord) {
    EXPECT_FALSE(writes.put(1, 1, std::string(2 * kPayloadBytes, 'x')));
    EXPECT_TRUE(drain(1).empty());
}

TEST_F(CacheWritesTest, WhatIsGivenBackComesAgainAndIsCounted) {
    ASSERT_TRUE(writes.put(1, 1, "hard"));
    std::uint32_t index = 0;
    for (std::uint32_t attempt = 1; attempt <= 3; attempt++) {
        index = 0;
        ASSERT_TRUE(writes.take(1, index));
        EXPECT_EQ(writes.give_back(1, index), attempt);
    }
    EXPECT_EQ(drain(1), std::vector<std::string>{"hard"});
}

TEST_F(CacheWritesTest, AKeepersSuccessorFindsWhatItHadTaken) {
    ASSERT_TRUE(writes.put(1, 1, "taken"));
    std::uint32_t index = 0;
    ASSERT_TRUE(writes.take(1, index));
    writes.recover(2);
    EXPECT_TRUE(drain(1).empty()) << "another database's keeper takes nothing from it";
    writes.recover(1);
    EXPECT_EQ(drain(1), std::vector<std::string>{"taken"});
}

TEST_F(CacheWritesTest, ARecordTellsTheEpochOfItsCall) {
    ASSERT_TRUE(writes.put(1, 7, "old"));
    ASSERT_TRUE(writes.put(1, 8, "new"));
    std::map<std::string, std::uint64_t> epochs;
    for (std::uint32_t index = 0; writes.take(1, index); index++)
        epochs[text_of(index)] = writes.epoch(index);
    EXPECT_EQ(epochs, (std::map<std::string, std::uint64_t>{{"old", 7}, {"new", 8}}));
}

TEST_F(CacheWritesTest, APutBackIsNoAttempt) {
    ASSERT_TRUE(writes.put(1, 1, "held back"));
    for (int times = 0; times < 5; times++) {
        std::uint32_t index = 0;
        ASSERT_TRUE(writes.take(1, index));
        writes.put_back(1, index);
    }
    std::uint32_t index = 0;
    ASSERT_TRUE(writes.take(1, index));
    EXPECT_EQ(writes.give_back(1, index), 1U);
}

TEST(CacheEpochs, OnesClearIsNoOthers) {
    auto epochs = std::make_unique<CacheEpochs>();
    const std::uint64_t mine = epochs->of(16384), others = epochs->of(16385);
    epochs->clear(16384);
    EXPECT_NE(epochs->of(16384), mine);
    EXPECT_EQ(epochs->of(16385), others);
}

TEST_F(CacheWritesTest, ManySessionsAndTwoKeepersLoseNothing) {
    constexpr int kSessions = 4, kEach = 3000;
    std::atomic<int> running{kSessions};
    std::vector<std::thread> sessions;
    for (int session = 0; session < kSessions; session++)
        sessions.emplace_back([&, session] {
            for (int i = 0; i < kEach; i++)
                while (!writes.put(static_cast<std::uint32_t>(i % 2), std::uint64_t{1},
                                   std::to_string(session) + "/" + std::to_string(i) +
                                       std::string(static_cast<std::size_t>(i % 9000), '.')))
                    std::this_thread::yield();
            running--;
        });
    std::vector<std::string> got[2];
    std::vector<std::thread> keepers;
    for (std::uint32_t database = 0; database < 2; database++)
        keepers.emplace_back([&, database] {
            for (bool last = false; !last;) {
                last = running.load() == 0;
                for (std::string &text : drain(database))
                    got[database].push_back(text.substr(0, text.find('.')));
            }
        });
    for (auto &thread : sessions)
        thread.join();
    for (auto &thread : keepers)
        thread.join();
    for (int database = 0; database < 2; database++) {
        std::map<std::string, int> times;
        for (const std::string &text : got[database]) {
            times[text]++;
            EXPECT_EQ(std::stoi(text.substr(text.find('/') + 1)) % 2, database);
        }
        EXPECT_EQ(times.size(), static_cast<std::size_t>(kSessions * kEach / 2));
        for (const auto &[text, count] : times)
            EXPECT_EQ(count, 1) << text;
    }
}

class DatabaseTableTest : public ::testing::Test {
protected:
    static constexpr std::uint32_t kRows = 8;
    std::unique_ptr<void, decltype(&std::free)> memory_{
        std::aligned_alloc(kCacheLine, round_up(DatabaseTable::bytes_needed(kRows))), &std::free};
    DatabaseTable &table = *DatabaseTable::place(memory_.get(), kRows);
};

TEST_F(DatabaseTableTest, GivesEachDatabaseARowAndKeepsIt) {
    const std::uint32_t first = table.of(100), second = table.of(200);
    EXPECT_NE(first, second);
    EXPECT_EQ(table.of(100), first);
    EXPECT_EQ(table.find(200), second);
    EXPECT_EQ(table.find(300), DatabaseTable::kNone);
    for (std::uint32_t oid = 1000; oid < 1000 + kRows - 2; oid++)
        EXPECT_NE(table.of(oid), DatabaseTable::kNone);
    EXPECT_EQ(table.refused_us(), 0);
    EXPECT_EQ(table.of(5000), DatabaseTable::kNone);
    EXPECT_NE(table.refused_us(), 0);
    EXPECT_EQ(table.of(200), second);
}

TEST_F(DatabaseTableTest, AFreedRowBeginsAnewWithAnotherDatabase) {
    for (std::uint32_t oid = 1; oid <= kRows; oid++)
        ASSERT_NE(table.of(oid), DatabaseTable::kNone);
    const std::uint32_t third = table.of(3);
    table[third].pending_writes.store(7);
    table[third].count(0, true);
    table.free_row(third);
    EXPECT_EQ(table.find(3), DatabaseTable::kNone);
    EXPECT_EQ(table.of(99), third);
    EXPECT_EQ(table[third].pending_writes.load(), 0U);
    EXPECT_EQ(table[third].hits(), 0U);
    EXPECT_TRUE(table[third].health_wanted.load());
    EXPECT_EQ(table.of(3), DatabaseTable::kNone) << "full again";
}

TEST_F(DatabaseTableTest, SessionsThatComeTogetherFindOneRow) {
    for (std::uint32_t oid = 1; oid <= 2000; oid++) {
        std::uint32_t found[4];
        std::vector<std::thread> sessions;
        for (std::uint32_t &mine : found)
            sessions.emplace_back([&] { mine = table.of(oid); });
        for (std::thread &session : sessions)
            session.join();
        for (const std::uint32_t mine : found)
            ASSERT_EQ(mine, found[0]);
        ASSERT_NE(found[0], DatabaseTable::kNone);
        table.free_row(found[0]);
        ASSERT_EQ(table.find(oid), DatabaseTable::kNone);
    }
}

TEST_F(DatabaseTableTest, CountsLookupsOverAllItsShards) {
    DatabaseRow &row = table[0];
    for (std::uint32_t who = 0; who < 100; who++)
        row.count(who, who % 4 != 0);
    EXPECT_EQ(row.hits(), 75U);
    EXPECT_EQ(row.misses(), 25U);
}

}  // namespace
