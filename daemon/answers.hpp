// Replies as the protocol wants them. Called by the server, with what the engines have posted. Regime: pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/messages.hpp"
#include "daemon/requests.hpp"

namespace steadytext::daemon {

[[nodiscard]] std::string result_reply(const std::string &id, const std::string &result, const std::string &usage = "");
[[nodiscard]] std::string error_reply(const std::string &id, std::string_view message);

// The JSON result of an engine's answer. `model` is the model that gave it.
[[nodiscard]] std::string format_answer(const Form &form, const Answer &answer, const ModelInfo &model);
// The usage that stands beside this result, if it was asked for: as JSON text, or empty.
[[nodiscard]] std::string usage_of(const Form &form, const Answer &answer);
[[nodiscard]] std::string stream_end();
// The end of a stream in the form that its client asked for.
[[nodiscard]] std::string stream_end(const Form &form, const Answer &answer, const ModelInfo &model);

struct DaemonInfo {
    bool ready = false;
    bool cuts_texts = false;       // to embed
    bool has_more_models = false;  // than `models`
    int slots = 0;
    int slots_in_use = 0;
    double idle_ms = 0;  // while no slot is in use
    std::uint64_t resident_bytes = 0;
    std::vector<const ModelInfo *> models;  // a model that is loading has no fingerprint yet
};
[[nodiscard]] std::string format_info(const DaemonInfo &daemon);
[[nodiscard]] std::string json_text(std::string_view text);

}  // namespace steadytext::daemon
