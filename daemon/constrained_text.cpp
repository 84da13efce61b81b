// Compiling a constraint, and choosing tokens that can still reach the end: see constrained_text.hpp. Regime: pure.
#include "daemon/constrained_text.hpp"

#include <limits>

#include "src/core/constraint/regex.hpp"
#include "src/core/constraint/schema.hpp"

namespace steadytext::daemon {

namespace {

using core::constraint::Matcher;

bool compile(const Constraint &constraint, core::constraint::Network &network, core::Problem &problem,
             core::Work &work) {
    switch (constraint.kind) {
    case Constraint::Kind::Schema:
        return core::constraint::compile_schema(constraint.text, network, problem, &work);
    case Constraint::Kind::Regex:
        return core::constraint::compile_regex(constraint.text, network, problem, &work);
    case Constraint::Kind::Choices:
        return core::constraint::compile_choices(constraint.choices, network, problem, &work);
    case Constraint::Kind::None:
        break;
    }
    return problem.set(core::sqlstate::kInternalError, "there is no constraint");
}

std::string too_few_tokens(const std::string &needed, int limit) {
    return std::string(core::constraint::kTooFewTokens) + ": the shortest answer takes " + needed + ", " +
           std::to_string(limit) + " are allowed";
}

}  // namespace

bool ConstrainedText::begin(const Constraint &constraint, int limit, core::Work &work, std::string &error) {
    core::Problem problem;
    if (!compile(constraint, network_, problem, work)) {
        error = work.has_ended()
                    ? std::string(core::constraint::kTooMuchWork) + ": compiling the form of the answer"
                    : std::string(problem.message) + (problem.detail[0] != '\0' ? ": " : "") + problem.detail;
        return false;
    }
    matcher_.emplace(network_, &work);
    position_ = matcher_->start();
    left_ = limit;
    // A shortest text can be of any length; it is written out only if it can fit into `limit` tokens.
    const std::uint64_t room = static_cast<std::uint64_t>(limit) * tokens_.longest();
    if (matcher_->distance(position_) > room) {
        error = too_few_tokens("at least " + std::to_string(matcher_->distance(position_) / tokens_.longest()), limit);
        return false;
    }
    plan_.bytes = matcher_->completion(position_);
    plan_.tokens = tokens_.fewest_tokens(plan_.bytes, work);
    matcher_->charge_to(nullptr);
    spent_ = work.used();
    if (work.has_ended())
        error = std::string(core::constraint::kTooMuchWork) + ": finding a shortest answer";
    else if (plan_.tokens > limit)
        error = plan_.tokens == TokenTable::kCannotSpell ? "The model has no tokens for such an answer"
                                                         : too_few_tokens(std::to_string(plan_.tokens), limit);
    return error.empty();
}

// The better of two plans: the rest of the current plan, or a shortest way from `position`.
ConstrainedText::Plan ConstrainedText::plan_after(const std::string &piece, Position position, core::Work &work) const {
    Plan shortest{matcher_->completion(position), 0};
    shortest.tokens = tokens_.fewest_tokens(shortest.bytes, work);
    if (!plan_.bytes.starts_with(piece))
        return shortest;
    Plan rest{plan_.bytes.substr(piece.size()), 0};
    rest.tokens = tokens_.fewest_tokens(rest.bytes, work);
    return rest.tokens < shortest.tokens ? rest : shortest;
}

bool ConstrainedText::may_follow(llama_token token, core::Work &work) {
    const std::string &piece = tokens_.piece(token);
    const Position after = piece.empty() ? Matcher::kDead : matcher_->advance(position_, piece);
    if (after == Matcher::kDead)
        return false;
    const int left = left_ - 1;
    if (tokens_.spells_every_byte() && matcher_->distance(after) <= static_cast<std::uint32_t>(left))
        return true;
    if (matcher_->distance(after) > static_cast<std::uint64_t>(left) * tokens_.longest())
        return false;
    return plan_after(piece, after, work).tokens <= left;
}

ConstrainedText::Choice ConstrainedText::next(const float *logits, core::Work &work) {
    matcher_->charge_to(&work);
    position_ = matcher_->trim(position_);
    Choice choice{.token = choose(logits, work)};
    if (choice.token == kEnd)
        choice.kind = Choice::Kind::End;
    else if (accept(choice.token, work)) {
        choice.kind = Choice::Kind::Token;
        choice.is_complete = matcher_->is_complete(position_);
        add_rest(choice, work);
    }
    if (work.has_ended() && choice.kind != Choice::Kind::Token)
        choice = {};
    matcher_->charge_to(nullptr);
    spent_ += work.used();
    return choice;
}

void ConstrainedText::add_rest(Choice &choice, core::Work &work) {
    constexpr std::size_t kLongestRest = 64;
    std::string rest = choice.is_complete ? std::string() : matcher_->only_completion(position_, kLongestRest);
    if (rest.empty())
        return;
    const int tokens = tokens_.fewest_tokens(rest, work);
    if (work.has_ended() || tokens > left_)
        return;
    choice.is_complete = true;
    choice.rest = std::move(rest);
    choice.rest_tokens = tokens;
}

llama_token ConstrainedText::choose(const float *logits, core::Work &work) {
    float end_logit = -std::numeric_limits<float>::infinity();
    if (matcher_->accepts(position_))
        for (const llama_token end : tokens_.ends())
            end_logit = std::max(end_logit, logits[end]);
    // Usually the model's first choice may follow.
    const auto favourite = static_cast<llama_token>(std::max_element(logits, logits + tokens_.size()) - logits);
    if (logits[favourite] > end_logit && may_follow(favourite, work))
        return favourite;
    return likeliest(logits, end_logit, work);
}

// Walks over all tokens in the order of their bytes, and skips the tokens with a beginning that cannot follow.
llama_token ConstrainedText::likeliest(const float *logits, float end_logit, core::Work &work) {
    std::vector<llama_token> candidates;
    std::vector<Position> reached{position_};  // after so many bytes of the token at hand
    for (const TokenTable::Entry &entry : tokens_.sorted()) {
        if (!work.spend())
            return kEnd;
        if (reached.size() > entry.shared + 1)
            reached.resize(entry.shared + 1);
        if (reached.back() == Matcher::kDead)
            continue;  // its beginning has already failed
        const std::string &piece = tokens_.piece(entry.token);
        while (reached.size() <= piece.size() && reached.back() != Matcher::kDead)
            reached.push_back(matcher_->step(reached.back(), static_cast<std::uint8_t>(piece[reached.size() - 1])));
        if (reached.back() != Matcher::kDead && logits[entry.token] > end_logit)
            candidates.push_back(entry.token);
    }
    // Looks at the likeliest token first, and at the lower token of two equals. Usually an early candidate may
    // follow.
    const auto less_likely = [&](llama_token a, llama_token b) {
        return logits[a] < logits[b] || (logits[a] == logits[b] && a > b);
    };
    std::make_heap(candidates.begin(), candidates.end(), less_likely);
    while (!candidates.empty() && work.spend(8)) {
        std::pop_heap(candidates.begin(), candidates.end(), less_likely);
        if (may_follow(candidates.back(), work))
            return candidates.back();
        candidates.pop_back();
    }
    return kEnd;
}

// False, with nothing changed, if the work ended early.
bool ConstrainedText::accept(llama_token token, core::Work &work) {
    const std::string &piece = tokens_.piece(token);
    const Position after = matcher_->advance(position_, piece);
    const int left = left_ - 1;
    const auto distance = matcher_->distance(after);
    Plan plan;
    if (tokens_.spells_every_byte() && distance <= static_cast<std::uint32_t>(left))
        plan = {matcher_->completion(after), static_cast<int>(distance)};
    else
        plan = plan_after(piece, after, work);
    if (work.has_ended())
        return false;
    position_ = after;
    plan_ = std::move(plan);
    left_ = left;
    return true;
}

}  // namespace steadytext::daemon
