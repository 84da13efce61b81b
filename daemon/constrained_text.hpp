// A text that must come out as a schema, a regex or one of some choices, token by token, within a number of tokens.
//
// Made and called by the generator, one per constrained request. Regime: pure.
//
// It always knows a way to the end, as bytes, that takes no more tokens than are left: at first a shortest text, then what
// remains of it or a shortest one from where the text has come. A token may follow if the same can be said after it. So a
// text is never cut, and one that could not be finished is never begun. The token is the likeliest of those that may follow,
// which the requests beside it have no part in.
//
// What that takes is counted (core::Work), per token and for the whole text: a form that costs more ends its own request with an error.
// As steps are counted and not time, a text has the same end on every machine and in whatever company.
#pragma once

#include <algorithm>
#include <optional>
#include <string>

#include "daemon/messages.hpp"
#include "daemon/token_table.hpp"
#include "src/core/constraint/limits.hpp"
#include "src/core/constraint/matcher.hpp"

namespace steadytext::daemon {

class ConstrainedText {
public:
    explicit ConstrainedText(const TokenTable &tokens) : tokens_(tokens) {}
    ConstrainedText(const ConstrainedText &) = delete;
    ConstrainedText &operator=(const ConstrainedText &) = delete;

    // False, with what to tell the client, if no text can be had within `limit` tokens.
    [[nodiscard]] bool begin(const Constraint &constraint, int limit, core::Work &work, std::string &error);

    struct Choice {
        enum class Kind { Token, End, WorkEnded };
        Kind kind = Kind::WorkEnded;
        llama_token token = LLAMA_TOKEN_NULL;
        bool is_complete = false;  // nothing can follow it
    };
    // The likeliest token that may follow, which is then written. If the work ends before that is known, nothing has changed: it can be
    // asked again with more.
    [[nodiscard]] Choice next(const float *logits, core::Work &work);

    // Steps that the next token may take.
    [[nodiscard]] std::uint64_t allowance() const {
        using namespace core::constraint;
        return std::min(kMostStepsOfToken, kMostStepsOfAnswer - std::min(spent_, kMostStepsOfAnswer));
    }
    // So much is remembered that the next token begins with forgetting it, which takes its time.
    [[nodiscard]] bool is_full() const { return matcher_->is_full(); }

private:
    using Position = core::constraint::Matcher::Position;

    // A way to the end, and the tokens it takes.
    struct Plan {
        std::string bytes;
        int tokens = TokenTable::kCannotSpell;
    };
    [[nodiscard]] Plan plan_after(const std::string &piece, Position position, core::Work &work) const;
    [[nodiscard]] bool may_follow(llama_token token, core::Work &work);
    static constexpr llama_token kEnd = LLAMA_TOKEN_NULL;
    [[nodiscard]] llama_token choose(const float *logits, core::Work &work);
    [[nodiscard]] llama_token likeliest(const float *logits, float end_logit, core::Work &work);
    [[nodiscard]] bool accept(llama_token token, core::Work &work);

    const TokenTable &tokens_;
    core::constraint::Network network_;
    std::optional<core::constraint::Matcher> matcher_;
    Position position_ = core::constraint::Matcher::kDead;
    Plan plan_;
    int left_ = 0;  // tokens
    std::uint64_t spent_ = 0;
};

}  // namespace steadytext::daemon
