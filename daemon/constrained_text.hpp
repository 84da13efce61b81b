// A text that must match a schema, a regex or a list of choices, written token by token, within a number of tokens.
//
// Called by the generator, which makes an object for each constrained request. Regime: pure.
//
// It always has a plan: a way to the end, as bytes, that takes no more tokens than are left. The first plan is a
// shortest text; later plans are the rest of the plan before, or a shortest way from the current position. A token may
// follow if such a plan exists after it. So a text is never cut, and a text that cannot be finished is never begun. The
// chosen token is the likeliest token that may follow; other requests do not influence it.
//
// The work is counted in steps (core::Work), per token and for the whole text: a form that costs too much ends its own
// request with an error. As steps are counted and not time, a text ends the same on every machine and beside any other
// requests.
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

    // False, with a message for the client in `error`, if no text is possible within `limit` tokens.
    [[nodiscard]] bool begin(const Constraint &constraint, int limit, core::Work &work, std::string &error);

    struct Choice {
        enum class Kind { Token, End, WorkEnded };
        Kind kind = Kind::WorkEnded;
        llama_token token = LLAMA_TOKEN_NULL;
        bool is_complete = false;  // nothing can follow it and `rest`
        // The only text that can follow, if it ends the answer: so no model need be asked. And the fewest tokens that
        // write it
        std::string rest;
        int rest_tokens = 0;
    };
    // Chooses and writes the likeliest token that may follow. If the work ends before the choice, nothing has changed:
    // call it again with more work.
    [[nodiscard]] Choice next(const float *logits, core::Work &work);

    // Steps that the next token may take.
    [[nodiscard]] std::uint64_t allowance() const {
        using namespace core::constraint;
        return std::min(kMaxStepsOfToken, kMaxStepsOfAnswer - std::min(spent_, kMaxStepsOfAnswer));
    }
    // True if so much is cached that the next token must first clear it, which takes time.
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
    void add_rest(Choice &choice, core::Work &work);

    const TokenTable &tokens_;
    core::constraint::Network network_;
    std::optional<core::constraint::Matcher> matcher_;
    Position position_ = core::constraint::Matcher::kDead;
    Plan plan_;
    int left_ = 0;  // tokens
    std::uint64_t spent_ = 0;
};

}  // namespace steadytext::daemon
