// When an engine fails at a request, in whatever way: is it the engine, or the request? Another one, which any engine that works can answer and which
// nothing of the caller's is in, tells. Nothing counts against an engine before. And when an engine asks to come again later: must all come later, or
// who asked for so much?
//
// Kept by bgworker/http_channel.*. Regime: pure. A request whose failure is not judged yet is a suspect, and its caller waits for the verdict; all
// suspects of a kind share one check, and what a check finds holds for a second: who sends a thousand requests that make an engine fail costs
// it one small request a second, and nobody's breaker.
#pragma once

#include "bgworker/channel.hpp"
#include "src/core/openai.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace steadytext::gateway {

// Of one kind: to generate, or to embed.
class EngineCheck {
public:
    struct Suspect {
        Declined declined;    // how it failed
        std::string message;  // the reply, if the engine works otherwise; empty: it is declined
    };

    // An answer came: the engine works, with this model.
    void note_answer(const std::string &model) {
        if (model_ != model)
            model_ = model;
    }
    [[nodiscard]] const std::string &model() const { return model_; }  // empty: none has answered

    [[nodiscard]] bool is_known_to_work(std::int64_t now_us) const { return now_us < works_until_us_; }
    void note_works(std::int64_t now_us) { works_until_us_ = now_us + kHoldsUs; }
    // And that it does not ask anybody to come again later.
    [[nodiscard]] bool is_known_to_be_free(std::int64_t now_us) const { return now_us < free_until_us_; }
    void note_free(std::int64_t now_us) { free_until_us_ = now_us + kHoldsUs; }

    void hold(Suspect suspect) { suspects_.push_back(std::move(suspect)); }
    // Nobody waits for it any longer.
    void forget(std::string_view id) {
        std::erase_if(suspects_, [&](const Suspect &suspect) { return suspect.declined.id == id; });
    }
    [[nodiscard]] std::vector<Suspect> take_suspects() { return std::exchange(suspects_, {}); }

private:
    static constexpr std::int64_t kHoldsUs = 1'000'000;

    std::string model_;
    std::int64_t works_until_us_ = 0;
    std::int64_t free_until_us_ = 0;
    std::vector<Suspect> suspects_;
};

}  // namespace steadytext::gateway
