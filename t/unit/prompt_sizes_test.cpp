// Tokens of prompts beside their estimates: shmem/prompt_sizes.hpp.
#include "shmem/prompt_sizes.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace {

using steadytext::shmem::PromptSizes;

void tell(PromptSizes &sizes, const PromptSizes::Key &key, int answers, std::int64_t estimated, std::int64_t told) {
    for (int i = 0; i < answers; i++)
        sizes.add(key, estimated, told);
}

TEST(PromptSizes, TellsTheRatioOnceEnoughAnswersHaveToldIt) {
    const auto sizes = std::make_unique<PromptSizes>();
    const auto key = sizes->key(10, 0, "qwen");
    tell(*sizes, key, 19, 10, 20);
    EXPECT_DOUBLE_EQ(sizes->per_estimated(key), 1);
    tell(*sizes, key, 1, 10, 20);
    EXPECT_DOUBLE_EQ(sizes->per_estimated(key), 2);
    EXPECT_DOUBLE_EQ(sizes->per_estimated(sizes->key(10, 1, "qwen")), 1) << "of another kind";
    EXPECT_DOUBLE_EQ(sizes->per_estimated(sizes->key(11, 0, "qwen")), 1) << "of another role";
    sizes->reset();
    EXPECT_DOUBLE_EQ(sizes->per_estimated(key), 1);
}

TEST(PromptSizes, IsBoundedWhateverADaemonTells) {
    const auto sizes = std::make_unique<PromptSizes>();
    const auto key = sizes->key(10, 0, "liar");
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
    const auto key = sizes->key(10, 0, "qwen");
    tell(*sizes, key, 10'000, 10, 20);
    tell(*sizes, key, 4'000, 10, 10);
    EXPECT_LT(sizes->per_estimated(key), 1.2);
}

TEST(PromptSizes, NoRoleChangesAnothers) {
    const auto sizes = std::make_unique<PromptSizes>();
    ASSERT_TRUE(sizes->salt());
    const auto own = sizes->key(10, 0, "qwen");
    tell(*sizes, own, 30, 10, 20);
    for (int i = 0; i < 100'000; i++)
        tell(*sizes, sizes->key(11, 0, "m" + std::to_string(i)), 1, 10, 80);
    EXPECT_DOUBLE_EQ(sizes->per_estimated(own), 2);
    for (std::uint32_t role = 12; role < 1'000; role++)
        for (int i = 0; i < 100; i++)
            tell(*sizes, sizes->key(role, 0, "m" + std::to_string(i)), 1, 10, 80);
    EXPECT_DOUBLE_EQ(sizes->per_estimated(own), 2) << "nor many of them";
}

TEST(PromptSizes, OfARoleTheOneThatWasSilentLongestGoes) {
    const auto sizes = std::make_unique<PromptSizes>();
    ASSERT_TRUE(sizes->salt());
    constexpr int kNames = 20 * PromptSizes::kSets * PromptSizes::kWays;
    const auto often = sizes->key(10, 0, "often");
    for (int i = 0; i < kNames; i++) {
        tell(*sizes, sizes->key(10, 0, "m" + std::to_string(i)), 20, 10, 20);
        tell(*sizes, often, 1, 10, 30);
    }
    EXPECT_DOUBLE_EQ(sizes->per_estimated(often), 3);
    EXPECT_DOUBLE_EQ(sizes->per_estimated(sizes->key(10, 0, "m0")), 1);
    EXPECT_DOUBLE_EQ(sizes->per_estimated(sizes->key(10, 0, "m" + std::to_string(kNames - 1))), 2);
}

TEST(PromptSizes, KeysAreOtherOnesInEachLife) {
    const auto sizes = std::make_unique<PromptSizes>(), others = std::make_unique<PromptSizes>();
    ASSERT_TRUE(sizes->salt() && others->salt());
    EXPECT_NE(sizes->key(10, 0, "qwen").digest, others->key(10, 0, "qwen").digest);
    EXPECT_EQ(sizes->key(10, 0, "qwen").digest, sizes->key(10, 0, "qwen").digest);
    EXPECT_NE(sizes->key(10, 0, "qwen"), sizes->key(10, 0, std::string_view("qwen\0", 5)));
}

}  // namespace
