// Counts of answers by question: shmem/answer_counts.hpp.
#include "shmem/answer_counts.hpp"

#include <gtest/gtest.h>

#include <memory>

namespace {

using steadytext::shmem::AnswerCounts;

AnswerCounts::Key key(std::uint64_t question, std::uint64_t owner = 0) { return {{question, 1}, owner}; }

TEST(AnswerCounts, CountsByQuestionAndAnswer) {
    const auto counts = std::make_unique<AnswerCounts>();
    counts->add(key(7), 0, 300);
    counts->add(key(7), 1, 0);
    counts->add(key(7), 1, 300);
    counts->add(key(8), 99, 50);
    EXPECT_EQ(counts->seen(key(7)).answers[0], 1U);
    EXPECT_EQ(counts->seen(key(7)).answers[1], 2U);
    EXPECT_EQ(counts->seen(key(7)).total(), 3U);
    EXPECT_DOUBLE_EQ(counts->seen(key(7)).mean_us, 200);
    EXPECT_EQ(counts->seen(key(8)).answers[AnswerCounts::kAnswers - 1], 1U);
    EXPECT_EQ(counts->seen(key(9)).total(), 0U);
    counts->reset();
    EXPECT_EQ(counts->seen(key(7)).total(), 0U);
}

TEST(AnswerCounts, ByOwnerAndWholeDigest) {
    const auto counts = std::make_unique<AnswerCounts>();
    counts->add(key(7, 1), 0, 300);
    EXPECT_EQ(counts->seen(key(7, 1)).total(), 1U);
    EXPECT_EQ(counts->seen(key(7, 2)).total(), 0U);
    EXPECT_EQ(counts->seen({{7, 2}, 1}).total(), 0U);
}

TEST(AnswerCounts, WhatIsAskedMostStays) {
    const auto counts = std::make_unique<AnswerCounts>();
    for (int i = 0; i < 1000; i++)
        counts->add(key(1), 0, 10);
    for (std::uint64_t other = 0; other < 8; other++)  // all of the same set, each asked once
        counts->add(key(1 + 256 * (other + 1)), 0, 10);
    EXPECT_GT(counts->seen(key(1)).total(), 0U);
    EXPECT_EQ(counts->seen(key(1 + 256 * 8)).total(), 1U);
}

TEST(AnswerCounts, OneRolesQuestionsLeaveAnothersAlone) {
    const auto counts = std::make_unique<AnswerCounts>();
    constexpr std::uint64_t kBob = std::uint64_t{17'410} << 32 | 5, kEve = std::uint64_t{17'411} << 32 | 5;
    for (std::uint64_t question = 1; question <= 50; question++)
        for (int i = 0; i < 20; i++)
            counts->add(key(question, kBob), 0, 10);
    for (std::uint64_t question = 1; question <= 100'000; question++)
        counts->add(key(question, kEve), 0, 10);
    for (std::uint64_t question = 1; question <= 50; question++)
        EXPECT_EQ(counts->seen(key(question, kBob)).total(), 20U) << question;
}

TEST(AnswerCounts, NewerAnswersCountForMore) {
    const auto counts = std::make_unique<AnswerCounts>();
    for (int i = 0; i < 1'000'000; i++)
        counts->add(key(1), 0, 1);
    for (int i = 0; i < 200'000; i++)
        counts->add(key(1), 1, 1);
    const auto seen = counts->seen(key(1));
    EXPECT_GT(seen.answers[1], seen.answers[0]);
    EXPECT_NEAR(seen.mean_us, 1, 0.1);
}

}  // namespace
