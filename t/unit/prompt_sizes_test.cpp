// Tokens of prompts beside their estimates: shmem/prompt_sizes.hpp.
#include "shmem/prompt_sizes.hpp"

#include <gtest/gtest.h>

#include <memory>

namespace {

using steadytext::shmem::PromptSizes;

void tell(PromptSizes &sizes, PromptSizes::Key key, int answers, std::int64_t estimated, std::int64_t told) {
    for (int i = 0; i < answers; i++)
        sizes.add(key, estimated, told);
}

TEST(PromptSizes, TellsTheRatioOnceEnoughAnswersHaveToldIt) {
    const auto sizes = std::make_unique<PromptSizes>();
    const auto key = PromptSizes::key(10, 0, "qwen");
    tell(*sizes, key, 19, 10, 20);
    EXPECT_DOUBLE_EQ(sizes->per_estimated(key), 1);
    tell(*sizes, key, 1, 10, 20);
    EXPECT_DOUBLE_EQ(sizes->per_estimated(key), 2);
    EXPECT_DOUBLE_EQ(sizes->per_estimated(PromptSizes::key(10, 1, "qwen")), 1) << "of another kind";
    EXPECT_DOUBLE_EQ(sizes->per_estimated(PromptSizes::key(11, 0, "qwen")), 1) << "of another role";
    sizes->reset();
    EXPECT_DOUBLE_EQ(sizes->per_estimated(key), 1);
}

TEST(PromptSizes, IsBoundedWhateverADaemonTells) {
    const auto sizes = std::make_unique<PromptSizes>();
    const auto key = PromptSizes::key(10, 0, "liar");
    tell(*sizes, key, 100, 10, INT64_MAX);
    EXPECT_DOUBLE_EQ(sizes->per_estimated(key), 8);
    tell(*sizes, key, 10, 10, -1);
    tell(*sizes, key, 10, 10, 0);
    EXPECT_DOUBLE_EQ(sizes->per_estimated(key), 8);
    tell(*sizes, key, 1'000'000, 1'000, 1);
    EXPECT_DOUBLE_EQ(sizes->per_estimated(key), 1.0 / 8);
}

TEST(PromptSizes, NewerPromptsCountForMore) {
    const auto sizes = std::make_unique<PromptSizes>();
    const auto key = PromptSizes::key(10, 0, "qwen");
    tell(*sizes, key, 10'000, 10, 20);
    tell(*sizes, key, 4'000, 10, 10);
    EXPECT_LT(sizes->per_estimated(key), 1.2);
}

TEST(PromptSizes, WhatFindsItsPlaceTakenBeginsAnew) {
    const auto sizes = std::make_unique<PromptSizes>();
    tell(*sizes, 1 + 2 * 7, 30, 10, 20);
    tell(*sizes, 1 + 2 * (7 + 2048), 30, 10, 30);
    EXPECT_DOUBLE_EQ(sizes->per_estimated(1 + 2 * (7 + 2048)), 3);
    EXPECT_DOUBLE_EQ(sizes->per_estimated(1 + 2 * 7), 1);
}

}  // namespace
