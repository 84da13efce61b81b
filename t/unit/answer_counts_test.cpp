// Counts of answers by question: shmem/answer_counts.hpp.
#include "shmem/answer_counts.hpp"

#include <gtest/gtest.h>

#include <memory>

namespace {

using steadytext::shmem::AnswerCounts;

TEST(AnswerCounts, CountsByQuestionAndAnswer) {
    const auto counts = std::make_unique<AnswerCounts>();
    counts->add(7, 0, 300);
    counts->add(7, 1, 0);
    counts->add(7, 1, 300);
    counts->add(8, 99, 50);
    EXPECT_EQ(counts->seen(7).answers[0], 1U);
    EXPECT_EQ(counts->seen(7).answers[1], 2U);
    EXPECT_EQ(counts->seen(7).total(), 3U);
    EXPECT_DOUBLE_EQ(counts->seen(7).mean_us, 200);
    EXPECT_EQ(counts->seen(8).answers[AnswerCounts::kAnswers - 1], 1U);
    EXPECT_EQ(counts->seen(9).total(), 0U);
    counts->reset();
    EXPECT_EQ(counts->seen(7).total(), 0U);
}

TEST(AnswerCounts, WhatIsAskedMostStays) {
    const auto counts = std::make_unique<AnswerCounts>();
    for (int i = 0; i < 1000; i++)
        counts->add(1, 0, 10);
    for (std::uint64_t other = 0; other < 8; other++)  // all of the same set, each asked once
        counts->add(1 + 256 * (other + 1), 0, 10);
    EXPECT_GT(counts->seen(1).total(), 0U);
    EXPECT_EQ(counts->seen(1 + 256 * 8).total(), 1U);
}

TEST(AnswerCounts, NewerAnswersCountForMore) {
    const auto counts = std::make_unique<AnswerCounts>();
    for (int i = 0; i < 1'000'000; i++)
        counts->add(1, 0, 1);
    for (int i = 0; i < 200'000; i++)
        counts->add(1, 1, 1);
    const auto seen = counts->seen(1);
    EXPECT_GT(seen.answers[1], seen.answers[0]);
    EXPECT_NEAR(seen.mean_us, 1, 0.1);
}

}  // namespace
