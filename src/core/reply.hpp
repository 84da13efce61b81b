// Reading what a daemon answered. Nothing a daemon says is trusted.
//
// envelope_id is called by the gateway, the rest by sessions. Regime: pure (may throw std::bad_alloc).
// Refused: text that is not one JSON value of at most kMaxDepth levels, invalid UTF-8, NUL characters (PostgreSQL has no room for
// them), numbers that are not finite, vectors of absurd length.
#pragma once

#include "src/core/problem.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace steadytext::core {

inline constexpr std::size_t kMaxDepth = 64;
inline constexpr std::size_t kMaxDimensions = 65'536;

// The reply's id, if it is a string. Fast where the text begins with it, as our own daemons write it.
[[nodiscard]] bool envelope_id(std::string_view body, std::string_view &id, std::string &storage);

struct GenerateReply {
    bool is_null = false;  // the daemon has no answer: no model, say
    std::string text;
    std::string model;
    std::string fingerprint;
    std::string finish_reason;
    int prompt_tokens = -1;  // -1: not told
    int completion_tokens = -1;
    double engine_ms = -1;
};

[[nodiscard]] bool read_generate_reply(std::string_view body, GenerateReply &reply, Problem &problem);

// A flat array of finite numbers.
[[nodiscard]] bool read_embed_reply(std::string_view body, std::vector<float> &vector, Problem &problem);

}  // namespace steadytext::core
