// Chooses the prompt that is computed next, and the number of its tokens before the other prompts have their turn.
//
// Owned by the generator's thread, which reports how long each piece took. Regime: pure.
//
// The prompt with the fewest tokens left goes first, so a short prompt does not wait for long prompts. Two turns of four
// are kept from this rule, as a steady flow of short prompts would delay the others for ever:
//   - one belongs to the oldest prompt: once it is the oldest, a prompt of n tokens is done within 4n tokens;
//   - one belongs to a prompt of the peer with the fewest requests at work, so a peer that asks for one thing does not
//     wait for all that another peer has asked for before. Where peers do not differ, the shortest prompt has it.
//
// A turn is the number of tokens that the engine computes in a tenth of a second, estimated from the latest pieces. A
// fast engine computes whole chunks; on a slow engine, decoding for the other requests goes on after a few tokens. While
// nobody decodes, a turn is longer: each piece reads the whole model from memory, so a few large ones are faster than
// many small ones, and only a request that comes meanwhile has to wait for its end.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <vector>

namespace steadytext::daemon {

class PromptTurns {
public:
    // Least tokens of a turn and of a piece: fewer cost the engine much more each, and may have other bits
    static constexpr std::size_t kLeast = 8;
    static constexpr double kSeconds = 0.1;
    static constexpr std::size_t kLonger = 3;  // times, while nobody decodes
    static constexpr unsigned kCycle = 4;      // turns: of the oldest, the shortest, the least busy peer, the shortest

    explicit PromptTurns(std::size_t most) noexcept : most_(std::max(most, kLeast)) {}

    struct Prompt {
        std::size_t slot;
        std::size_t left;      // tokens
        std::uint64_t serial;  // in the order they came
        std::size_t at_work;   // requests of its peer that have a slot
    };
    void begin_turn() noexcept { turn_++; }
    // The prompt that goes next in this turn; `prompts` must not be empty.
    [[nodiscard]] const Prompt &next(const std::vector<Prompt> &prompts) const {
        const auto rank = [turn = turn_ % kCycle](const Prompt &prompt) {
            const std::size_t first = turn == 0 ? 0 : turn == kCycle / 2 ? prompt.at_work : prompt.left;
            return std::tuple(first, turn == 0 ? 0 : prompt.left, prompt.serial);
        };
        return *std::min_element(prompts.begin(), prompts.end(),
                                 [&](const Prompt &a, const Prompt &b) { return rank(a) < rank(b); });
    }

    // The number of tokens to compute now, about `wanted` at most. Never fewer than kLeast, unless the engine itself
    // would compute the rest so: it computes a prompt in chunks of `chunk` tokens.
    [[nodiscard]] static std::size_t piece(std::size_t done, std::size_t size, std::size_t chunk,
                                           std::size_t wanted) noexcept {
        const std::size_t rest = std::min(chunk - done % chunk, size - done);  // of the chunk
        const std::size_t piece = std::max(wanted, kLeast);
        return rest < piece + kLeast ? rest : piece;
    }

    // Tokens of a turn.
    [[nodiscard]] std::size_t tokens(bool somebody_decodes = true) const noexcept {
        return somebody_decodes ? tokens_ : std::min(kLonger * tokens_, most_);
    }
    // Reports that `tokens` tokens were computed within `seconds`.
    void computed(std::size_t tokens, double seconds) noexcept {
        if (tokens < kLeast)  // the fixed cost of a piece would count too much
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
