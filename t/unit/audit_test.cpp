// Suspicious input and its way to the audit table: what is suspected and what is not; records reach their own database
// once, and a role that makes many cannot fill the ring.
#include "shmem/audit_ring.hpp"
#include "src/core/injection_patterns.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace steadytext;
using core::FairShare;
using core::Suspicion;
using shmem::AuditPacing;
using shmem::AuditRecord;
using shmem::AuditRing;

TEST(SuspicionTest, NamesInUseAreInnocent) {
    for (const char *name : {"", "qwen3-1.7b", "Qwen/Qwen3-1.7B-GGUF", "qwen3-1.7b-q4_k_m.gguf", "openai:gpt-4o-mini",
                             "ollama:llama3.2:3b", "large", "all-MiniLM-L6-v2", "models--org--name", "mod\xC3\xA8le",
                             "my model (old)", "default_seed", "model:qwen3", "select"})
        EXPECT_EQ(core::suspect_name(name, 127), Suspicion::None) << name;
}

TEST(SuspicionTest, NamesWithSqlAreNot) {
    for (const char *name :
         {"x'", "x\"; DROP TABLE t", "x; SELECT 1", "x-- ", "x --", "x /* y */", "$$x$$", "1 OR 1=1", "1 or(1)",
          "a UNION SELECT b", "../../etc/passwd", "`id`", "a\\b", "x%00y", "a || b", "a && b"})
        EXPECT_EQ(core::suspect_name(name, 127), Suspicion::Injection) << name;
}

TEST(SuspicionTest, TheOtherKinds) {
    EXPECT_EQ(core::suspect_name("four", 3), Suspicion::TooLong);
    EXPECT_EQ(core::suspect_name("four", 4), Suspicion::None);
    EXPECT_EQ(core::suspect_name("a\xFF", 10), Suspicion::BadEncoding);
    EXPECT_EQ(core::suspect_name("a\x1B[31m", 10), Suspicion::ControlCharacter);
    EXPECT_EQ(core::suspect_prompt("'; DROP TABLE students; --", 100), Suspicion::None);
    EXPECT_EQ(core::suspect_prompt("a\x1B[31m", 100), Suspicion::ControlCharacter);
    EXPECT_EQ(core::suspect_prompt("four", 3), Suspicion::TooLong);
}

TEST(SuspicionTest, EveryControlCharacterIsFoundAtEveryPlace) {
    for (int byte = 0; byte < 256; byte++) {
        const bool control = (byte < 0x20 && byte != '\t' && byte != '\n' && byte != '\r') || byte == 0x7F;
        for (std::size_t at = 0; at < 19; at++) {
            std::string text = "\n\x80\xFF \ttext\r, more of it";
            text[at] = static_cast<char>(byte);
            EXPECT_EQ(core::has_control_character(text), control) << byte << " at " << at;
        }
    }
}

TEST(SuspicionTest, PrintableTextIsAsciiAndFits) {
    char text[12];
    core::write_printable("a\n\xC3\\b", text, sizeof text);
    EXPECT_STREQ(text, "a\\x0a\\xc3");
    core::write_printable("a\x1B"
                          "b",
                          text, sizeof text);
    EXPECT_STREQ(text, "a\\x1bb");
    core::write_printable("01234567890123", text, sizeof text);
    EXPECT_STREQ(text, "01234567890");
}

AuditRecord record_of(std::int64_t number) {
    AuditRecord record;
    record.at_us = number;
    return record;
}

TEST(AuditRingTest, ARecordGoesToItsDatabaseAndStaysUntilItIsFinished) {
    auto ring = std::make_unique<AuditRing>();
    ASSERT_TRUE(ring->put(1, 10, record_of(11)));
    ASSERT_TRUE(ring->put(2, 10, record_of(22)));
    EXPECT_EQ(ring->find(3, 0), AuditRing::kNone);
    const std::uint32_t index = ring->find(2, 0);
    ASSERT_NE(index, AuditRing::kNone);
    EXPECT_EQ((*ring)[index].at_us, 22);
    EXPECT_EQ(ring->find(2, 0), index);
    ring->finish(index);
    EXPECT_EQ(ring->find(2, 0), AuditRing::kNone);
    EXPECT_NE(ring->find(1, 0), AuditRing::kNone);
}

TEST(AuditRingTest, AFullRingRefusesAndRecovers) {
    auto ring = std::make_unique<AuditRing>();
    for (std::uint32_t i = 0; i < AuditRing::kRecords; i++)
        ASSERT_TRUE(ring->put(i + 1, 10, record_of(i))) << "whoever has none gets what is free";
    EXPECT_FALSE(ring->put(1000, 10, record_of(0)));
    ring->finish(ring->find(78, 0));
    EXPECT_TRUE(ring->put(1000, 10, record_of(0)));
    EXPECT_FALSE(ring->put(1000, 10, record_of(0)));
}

// How many more rows of one role find room.
std::uint32_t fill(AuditRing &ring, std::uint32_t database, std::uint32_t role) {
    std::uint32_t count = 0;
    while (ring.put(database, role, record_of(0)))
        count++;
    return count;
}

TEST(AuditRingTest, WhoeverFloodsItLeavesRoomForOtherRolesAndDatabases) {
    auto ring = std::make_unique<AuditRing>();
    const std::uint32_t first = fill(*ring, 1, 10);
    EXPECT_GT(first, AuditRing::kRecords / 2) << "who is alone gets most of it";
    const std::uint32_t second = fill(*ring, 1, 11);
    EXPECT_GT(second, 0U) << "another role of the database has room";
    EXPECT_EQ(fill(*ring, 1, 10), 0U);
    std::uint32_t of_all = first + second;
    for (std::uint32_t role = 12; role < 200; role++)
        of_all += fill(*ring, 1, role);
    EXPECT_LE(of_all, FairShare::most(0, AuditRing::kRecords)) << "all roles of a database have no more than its share";
    const std::uint32_t other = fill(*ring, 2, 10);
    EXPECT_GT(other, AuditRing::kRecords / 10) << "another database has room, for the same role too";
    EXPECT_GT(fill(*ring, 3, 10), 0U) << "and so has the next";
    while (ring->find(1, 0) != AuditRing::kNone)
        ring->finish(ring->find(1, 0));
    EXPECT_GT(fill(*ring, 2, 10) + other, AuditRing::kRecords / 2) << "what is free again is whose turn it is";
}

TEST(AuditRingTest, ManySessionsAndAKeeperLoseNothing) {
    constexpr int kSessions = 4;
    constexpr int kEach = 5000;
    auto ring = std::make_unique<AuditRing>();
    std::vector<std::thread> sessions;
    for (int s = 0; s < kSessions; s++)
        sessions.emplace_back([&, s] {
            for (int i = 0; i < kEach; i++)
                while (!ring->put(7, static_cast<std::uint32_t>(s), record_of(s * kEach + i)))
                    std::this_thread::yield();
        });
    std::set<std::int64_t> seen;
    while (seen.size() < std::size_t{kSessions} * kEach)
        for (std::uint32_t index = 0; (index = ring->find(7, index)) != AuditRing::kNone; index++) {
            EXPECT_TRUE(seen.insert((*ring)[index].at_us).second);
            ring->finish(index);
        }
    for (std::thread &session : sessions)
        session.join();
    EXPECT_EQ(ring->find(7, 0), AuditRing::kNone);
}

TEST(AuditPacingTest, TheFirstOfAWindowIsLoggedAndAHundredAreWritten) {
    auto pacing = std::make_unique<AuditPacing>();
    for (std::uint32_t i = 0; i < 2 * AuditPacing::kPerWindow; i++) {
        const AuditPacing::Turn turn = pacing->take(1, 10, 1000);
        EXPECT_EQ(turn.is_first, i == 0);
        EXPECT_EQ(turn.is_written, i < AuditPacing::kPerWindow);
    }
    EXPECT_TRUE(pacing->take(2, 10, 1000).is_first) << "another kind";
    EXPECT_TRUE(pacing->take(1, 11, 1000).is_first) << "another role";
    const AuditPacing::Turn later = pacing->take(1, 10, 1000 + AuditPacing::kWindowUs);
    EXPECT_TRUE(later.is_first && later.is_written);
    EXPECT_EQ(later.left_out, 2 * AuditPacing::kPerWindow - 1);
}

// Numbers of roles and databases follow each other, at distances that come again and again.
TEST(AuditPacingTest, NobodysFloodUsesUpAnothersRecords) {
    for (std::uint64_t apart = 1; apart < 3000; apart++) {
        auto pacing = std::make_unique<AuditPacing>();
        for (const std::uint64_t database : {16'384 + 7 * apart, 16'384 + 8 * apart})
            for (std::uint32_t i = 0; i < AuditPacing::kPerWindow; i++)
                ASSERT_TRUE(pacing->take(1, database << 32 | 10, 1000).is_written) << apart << " apart, record " << i;
    }
}

TEST(AuditPacingTest, AHundredRolesHaveALimitEach) {
    auto pacing = std::make_unique<AuditPacing>();
    for (std::uint64_t role = 16'384; role < 16'484; role++)
        for (std::uint32_t i = 0; i < 2 * AuditPacing::kPerWindow; i++)
            ASSERT_EQ(pacing->take(2, std::uint64_t{5} << 32 | role, 1000).is_written, i < AuditPacing::kPerWindow)
                << role;
}

}  // namespace
