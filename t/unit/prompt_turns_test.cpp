// Prompts take turns: short ones go first, long ones are not put off for ever, and a turn takes about as long on every
// machine.
#include "daemon/prompt_turns.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

using steadytext::daemon::PromptTurns;

namespace {

constexpr std::size_t kChunk = 512;

// Prompts and an engine that computes fifty tokens a second.
class Prompts {
public:
    Prompts() {
        for (int i = 0; i < 20; i++)
            turns_.computed(PromptTurns::kLeast, 0.02 * PromptTurns::kLeast);
    }
    std::uint64_t add(std::size_t tokens, std::size_t at_work = 1) {
        prompts_.push_back({0, tokens, ++last_serial_, at_work});
        return last_serial_;
    }
    // A turn, of as many prompts as it has room for. Tokens computed.
    std::size_t compute() {
        turns_.begin_turn();
        std::size_t left = turns_.tokens(), tokens = 0;
        while (left > 0 && !prompts_.empty()) {
            const std::uint64_t serial = turns_.next(prompts_).serial;
            const auto next = std::find_if(prompts_.begin(), prompts_.end(),
                                           [&](const auto &prompt) { return prompt.serial == serial; });
            const std::size_t piece = PromptTurns::piece(0, next->left, kChunk, left);
            turns_.computed(piece, 0.02 * static_cast<double>(piece));
            left -= std::min(left, piece);
            next->left -= piece;
            tokens += piece;
            if (next->left == 0)
                prompts_.erase(next);
        }
        return tokens;
    }
    // A prompt that came after all that will still be added.
    std::uint64_t add_last(std::size_t tokens, std::size_t at_work) {
        prompts_.push_back({0, tokens, kLast, at_work});
        return kLast;
    }
    // Tokens computed, its own and others', until it is done. With `newcomer`, there are always so many prompts in all:
    // one of `newcomer` tokens begins as another is done.
    std::size_t finish(std::uint64_t mine, std::size_t newcomer = 0, std::size_t prompts = 2, std::size_t at_work = 1) {
        std::size_t tokens = 0;
        while (
            std::any_of(prompts_.begin(), prompts_.end(), [&](const auto &prompt) { return prompt.serial == mine; })) {
            while (newcomer > 0 && prompts_.size() < prompts)
                add(newcomer, at_work);
            tokens += compute();
        }
        return tokens;
    }
    bool empty() const { return prompts_.empty(); }

private:
    static constexpr std::uint64_t kLast = 1'000'000;

    PromptTurns turns_{kChunk};
    std::vector<PromptTurns::Prompt> prompts_;
    std::uint64_t last_serial_ = 0;
};

}  // namespace

// A short one after the other, from the first to the last token of long ones that came before them.
TEST(PromptTurns, AShortPromptWaitsForNoLongOnes) {
    Prompts prompts;
    for (int i = 0; i < 4; i++)
        prompts.add(575);
    std::size_t most = 0;
    while (!prompts.empty()) {
        most = std::max(most, prompts.finish(prompts.add(35)));
        prompts.compute();
    }
    EXPECT_LE(most, 35 * 4 / 3 + 4 * PromptTurns::kLeast + 35)
        << "for turns of the oldest, and for the rest of one that has less left";
}

TEST(PromptTurns, ALongPromptIsNotPutOffForEver) {
    Prompts prompts;
    const std::size_t tokens = prompts.finish(prompts.add(575), 8);
    EXPECT_GT(tokens, 3 * 575U) << "short ones go first";
    EXPECT_LE(tokens, 4 * 575U + 8 * PromptTurns::kLeast) << "but it has its turns";
}

// Another peer has asked for hundreds of things before. As each of its prompts is done, the next one begins.
TEST(PromptTurns, APromptDoesNotWaitForAllThatABusyPeerAskedBefore) {
    for (const std::size_t others : {8U, 34U, 36U, 300U}) {
        Prompts prompts;
        for (int i = 0; i < 7; i++)
            prompts.add(others, 7);
        const std::uint64_t mine = prompts.add_last(36, 1);
        const std::size_t tokens = prompts.finish(mine, others, 8, 7);
        EXPECT_LE(tokens, 4 * 36U + 8 * PromptTurns::kLeast) << "others of " << others;
    }
}

TEST(PromptTurns, EqualPromptsGoInTheOrderTheyCame) {
    Prompts prompts;
    const std::uint64_t first = prompts.add(100);
    prompts.add(100);
    EXPECT_LE(prompts.finish(first), 100U + 2 * PromptTurns::kLeast);
}

// Pieces never reach over the end of a chunk and have eight tokens at least, but for a chunk that has fewer itself.
TEST(PromptTurns, PiecesAreOfEightTokensAtLeast) {
    for (std::size_t size = 1; size < 1200; size++)
        for (const std::size_t wanted : {1U, 7U, 8U, 13U, 100U, 511U, 512U}) {
            std::size_t done = 0;
            while (done < size) {
                const std::size_t piece = PromptTurns::piece(done, size, kChunk, wanted);
                const std::size_t begin = done / kChunk * kChunk;
                ASSERT_GE(piece, std::min({PromptTurns::kLeast, kChunk, size - begin})) << size << " " << done;
                ASSERT_LE(piece, std::max<std::size_t>(wanted, 8) + 7);
                ASSERT_LE(done + piece, std::min(begin + kChunk, size));
                done += piece;
            }
        }
}

TEST(PromptTurns, ATurnTakesATenthOfASecond) {
    for (const double seconds_of_token : {1e-6, 1e-4, 0.001, 0.003, 0.0125, 0.05, 2.0}) {
        PromptTurns turns(kChunk);
        for (int i = 0; i < 20; i++)
            turns.computed(turns.tokens(), seconds_of_token * static_cast<double>(turns.tokens()));
        const double wanted = std::clamp(PromptTurns::kSeconds / seconds_of_token, 8.0, 512.0);
        EXPECT_NEAR(static_cast<double>(turns.tokens()), wanted, 1.0 + wanted / 100) << seconds_of_token;
    }
}

TEST(PromptTurns, AHiccupIsForgotten) {
    PromptTurns turns(kChunk);
    for (int i = 0; i < 10; i++)
        turns.computed(turns.tokens(), 0.0001 * static_cast<double>(turns.tokens()));
    EXPECT_EQ(turns.tokens(), kChunk);
    turns.computed(turns.tokens(), 10);
    EXPECT_LT(turns.tokens(), kChunk);
    for (int i = 0; i < 20; i++)
        turns.computed(turns.tokens(), 0.0001 * static_cast<double>(turns.tokens()));
    EXPECT_EQ(turns.tokens(), kChunk);
}

TEST(PromptTurns, NoTimeAtAllIsNoTrouble) {
    PromptTurns turns(kChunk);
    turns.computed(8, 0);
    EXPECT_EQ(turns.tokens(), kChunk);
    turns.computed(3, 5);
    EXPECT_EQ(turns.tokens(), kChunk) << "a rest of a prompt says nothing of the others";
    EXPECT_EQ(PromptTurns(0).tokens(), PromptTurns::kLeast);
}

TEST(PromptTurns, ATurnIsLongerWhileNobodyDecodes) {
    PromptTurns turns(kChunk);
    EXPECT_EQ(turns.tokens(false), PromptTurns::kLonger * turns.tokens());
    for (int i = 0; i < 20; i++)
        turns.computed(turns.tokens(), 0.0001 * static_cast<double>(turns.tokens()));
    EXPECT_EQ(turns.tokens(false), kChunk) << "never more than a chunk";
}
