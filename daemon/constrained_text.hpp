// A text that must come out as a schema, a regex or one of some choices, token by token, within a number of tokens.
//
// Made and called by the generator, one per constrained request. Regime: pure.
//
// It always knows a way to the end, as bytes, that takes no more tokens than are left: at first a shortest text, then what
// remains of it or a shortest one from where the text has come. A token may follow if the same can be said after it. So a
// text is never cut, and one that could not be finished is never begun. The token is the likeliest of those that may follow,
// which the requests beside it have no part in.
#pragma once

#include <optional>
#include <string>

#include "daemon/messages.hpp"
#include "daemon/token_table.hpp"
#include "src/core/constraint/matcher.hpp"

namespace steadytext::daemon {

class ConstrainedText {
public:
    explicit ConstrainedText(const TokenTable &tokens) : tokens_(tokens) {}
    ConstrainedText(const ConstrainedText &) = delete;
    ConstrainedText &operator=(const ConstrainedText &) = delete;

    // False, with what to tell the client, if no text can be had within `limit` tokens.
    [[nodiscard]] bool begin(const Constraint &constraint, int limit, std::string &error);

    static constexpr llama_token kEnd = LLAMA_TOKEN_NULL;
    // The likeliest token that may follow, or kEnd.
    [[nodiscard]] llama_token choose(const float *logits);
    void accept(llama_token token);
    // Nothing can follow.
    [[nodiscard]] bool is_complete() const { return matcher_->is_complete(position_); }

private:
    using Position = core::constraint::Matcher::Position;

    // A way to the end, and the tokens it takes.
    struct Plan {
        std::string bytes;
        int tokens = TokenTable::kCannotSpell;
    };
    [[nodiscard]] Plan plan_after(const std::string &piece, Position position) const;
    [[nodiscard]] bool may_follow(llama_token token);
    [[nodiscard]] llama_token likeliest(const float *logits, float end_logit);

    const TokenTable &tokens_;
    core::constraint::Network network_;
    std::optional<core::constraint::Matcher> matcher_;
    Position position_ = core::constraint::Matcher::kDead;
    Plan plan_;
    int left_ = 0;  // tokens
};

}  // namespace steadytext::daemon
