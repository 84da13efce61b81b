// Finds out whether the engine or the request is at fault when an engine fails: the gateway sends a request of its own,
// which any working engine can answer and which contains nothing from the caller. Before that, nothing counts against
// the engine. In the same way, when an engine asks to come again later, it finds out whether all requests must wait, or
// only the role that asked for too much.
//
// Kept by bgworker/http_channel.*, used by http_trials.cpp. Regime: pure. A request whose failure is not judged yet is
// a suspect, and its caller waits for the verdict. All suspects of a subject (a kind of requests, and a model of the
// engine's list) share a check, and its result holds for a second: if a role sends a thousand requests that make an
// engine fail, this costs the engine a small request per second, and opens no breaker.
//
// What the check convicts is its subject. An engine has one model for texts and another for embeddings, and a proxy has
// many: so before the engine itself is convicted, witnesses are asked, which are requests for other subjects. If one of
// them is answered, the engine works, and only what failed is held off (src/core/convictions.hpp).
#pragma once

#include "bgworker/channel.hpp"
#include "bgworker/http_transfer.hpp"
#include "src/core/openai.hpp"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace steadytext::gateway {

struct Subject {
    bool generates = true;  // else it embeds
    std::string model;      // of the engine's list; empty: the list is empty

    [[nodiscard]] bool operator==(const Subject &) const = default;
    [[nodiscard]] bool operator<(const Subject &other) const {
        return std::tie(generates, model) < std::tie(other.generates, other.model);
    }
    [[nodiscard]] core::openai::Request::Kind kind() const {
        return generates ? core::openai::Request::Kind::Generate : core::openai::Request::Kind::Embed;
    }
};

class EngineCheck {
public:
    struct Suspect {
        Declined declined;    // how it failed
        std::string message;  // the reply, if the engine works otherwise; empty: the request is declined
    };

    // A caller's request was answered.
    void note_answer(std::int64_t now_us) {
        note_works(now_us);
        answered_until_us_ = now_us + kHoldsUs;
    }
    [[nodiscard]] bool has_just_answered(std::int64_t now_us) const { return now_us < answered_until_us_; }

    [[nodiscard]] bool is_known_to_work(std::int64_t now_us) const { return now_us < works_until_us_; }
    void note_works(std::int64_t now_us) { works_until_us_ = now_us + kHoldsUs; }
    // It works, and asks no request to come again later.
    [[nodiscard]] bool is_known_to_be_free(std::int64_t now_us) const { return now_us < free_until_us_; }
    void note_free(std::int64_t now_us) { free_until_us_ = now_us + kHoldsUs; }

    void hold(Suspect suspect) { suspects_.push_back(std::move(suspect)); }
    // Nobody waits for the request any longer.
    void forget(std::string_view id) {
        std::erase_if(suspects_, [&](const Suspect &suspect) { return suspect.declined.id == id; });
    }
    [[nodiscard]] std::vector<Suspect> take_suspects() { return std::exchange(suspects_, {}); }
    // Nothing is under way, and nothing is known any longer.
    [[nodiscard]] bool is_over(std::int64_t now_us) const {
        return transfer == nullptr && suspects_.empty() &&
               now_us >= std::max({works_until_us_, free_until_us_, answered_until_us_});
    }

    // --- the trial that is under way ---
    std::unique_ptr<HttpTransfer> transfer;  // the gateway's own request
    std::int64_t begun_us = 0;
    std::vector<Subject> asked;                           // the subject itself, then witnesses
    std::vector<std::pair<Subject, std::string>> failed;  // of them, and how
    bool is_put_off = false;                              // the subject itself asks to come again; then for how long
    std::int64_t retry_after_us = 0;
    std::string put_off_reason;

private:
    static constexpr std::int64_t kHoldsUs = 1'000'000;

    std::int64_t works_until_us_ = 0;
    std::int64_t free_until_us_ = 0;
    std::int64_t answered_until_us_ = 0;
    std::vector<Suspect> suspects_;
};

}  // namespace steadytext::gateway
