// Whose prompt is computed next, and how much of it before the others have their turn.
//
// Owned by the generator's thread, which tells how long each piece took. Regime: pure.
//
// The prompt of which the least is left goes first, so a short one waits for no long ones; but every fourth turn is the oldest one's, so
// that none is put off for ever by short ones that keep coming: once it is the oldest, a prompt of n tokens is done within 4n.
//
// A turn is what the engine computes in a tenth of a second, by its last pieces: a fast engine computes whole chunks, at a slow one what
// is decoded for others goes on between a few tokens and the next few.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace steadytext::daemon {

class PromptTurns {
public:
    static constexpr std::size_t kLeast = 8;  // of a turn and of a piece: fewer cost the engine much more each, and may have other bits
    static constexpr double kSeconds = 0.1;
    static constexpr unsigned kTurnsOfOldest = 4;  // one in so many

    explicit PromptTurns(std::size_t most) noexcept : most_(std::max(most, kLeast)) {}

    struct Prompt {
        std::size_t slot;
        std::size_t left;      // tokens
        std::uint64_t serial;  // in the order they came
    };
    void begin_turn() noexcept { turn_++; }
    // Which of the prompts goes next in this turn; there is one.
    [[nodiscard]] const Prompt &next(const std::vector<Prompt> &prompts) const {
        const bool oldest = turn_ % kTurnsOfOldest == 0;
        return *std::min_element(prompts.begin(), prompts.end(), [&](const Prompt &a, const Prompt &b) {
            return std::pair(oldest ? 0 : a.left, a.serial) < std::pair(oldest ? 0 : b.left, b.serial);
        });
    }

    // How much of the prompt to compute, at most about `wanted` tokens: never fewer than kLeast, but for a rest that the engine would compute
    // by itself anyhow, which computes a prompt in chunks of `chunk` tokens.
    [[nodiscard]] static std::size_t piece(std::size_t done, std::size_t size, std::size_t chunk, std::size_t wanted) noexcept {
        const std::size_t rest = std::min(chunk - done % chunk, size - done);  // of the chunk
        const std::size_t piece = std::max(wanted, kLeast);
        return rest < piece + kLeast ? rest : piece;
    }

    // Tokens of a turn.
    [[nodiscard]] std::size_t tokens() const noexcept { return tokens_; }
    // So many were computed within that time.
    void computed(std::size_t tokens, double seconds) noexcept {
        if (tokens < kLeast)  // what it takes for any number of tokens would count too much
            return;
        const double last = seconds / static_cast<double>(tokens);
        seconds_of_token_ = seconds_of_token_ == 0 ? last : (seconds_of_token_ + last) / 2;
        const double fit = kSeconds / std::max(seconds_of_token_, 1e-9);
        tokens_ = static_cast<std::size_t>(std::clamp(fit, static_cast<double>(kLeast), static_cast<double>(most_)));
    }

private:
    std::size_t most_;
    std::size_t tokens_ = kLeast;
    double seconds_of_token_ = 0;
    unsigned turn_ = 0;
};

}  // namespace steadytext::daemon
