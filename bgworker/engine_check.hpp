// Finds out whether the engine or the request is at fault when an engine fails: it sends another request, which any
// working engine can answer and which contains nothing from the caller. Before that, nothing counts against the engine.
// In the same way, when an engine asks to come again later, it finds out whether all requests must wait, or only the
// role that asked for too much. The request goes to the engine's default model, never to a model that a caller chose:
// otherwise a failure of that model would count against all.
//
// Kept by bgworker/http_channel.*. Regime: pure. A request whose failure is not judged yet is a suspect, and its caller
// waits for the verdict. All suspects of a kind share a check, and its result holds for a second: if a role sends a
// thousand requests that make an engine fail, this costs the engine a small request per second, and opens no breaker.
#pragma once

#include "bgworker/channel.hpp"
#include "src/core/openai.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace steadytext::gateway {

// For requests of a kind: to generate, or to embed.
class EngineCheck {
public:
    struct Suspect {
        Declined declined;    // how it failed
        std::string message;  // the reply, if the engine works otherwise; empty: the request is declined
        std::string model{};  // of the request
    };

    // An answer came: the engine works, at least with this model.
    void note_answer(const std::string &model, std::int64_t now_us) {
        note_works(now_us);
        if (model_ != model)
            model_ = model;
    }
    [[nodiscard]] const std::string &model() const { return model_; }  // empty: no model has answered

    [[nodiscard]] bool is_known_to_work(std::int64_t now_us) const { return now_us < works_until_us_; }
    void note_works(std::int64_t now_us) { works_until_us_ = now_us + kHoldsUs; }
    // The engine works, and asks no request to come again later.
    [[nodiscard]] bool is_known_to_be_free(std::int64_t now_us) const { return now_us < free_until_us_; }
    void note_free(std::int64_t now_us) { free_until_us_ = now_us + kHoldsUs; }

    void hold(Suspect suspect) { suspects_.push_back(std::move(suspect)); }
    // Nobody waits for the request any longer.
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
