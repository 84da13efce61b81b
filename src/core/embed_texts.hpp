// Puts the embedding requests of several sessions into a single message, and takes the answer apart.
//
// Written by sessions (embed_params), joined and split by bgworker/daemon_sharing.cpp. Regime: pure (may throw
// std::bad_alloc). It knows the JSON that this project's sessions write. Of a daemon's answer it only trusts the shape;
// each session reads its part as it would read an answer of its own.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace steadytext::core {

// {"text_input": TEXT, "seed": ..., "model": ...}: the params of a single embedding.
void write_embed_params(std::string_view text, std::int64_t seed, std::string_view model, std::string &params);

// TEXT with its quotes, and the rest after it: requests that differ only in TEXT can share a message.
[[nodiscard]] bool split_embed_params(std::string_view params, std::string_view &text, std::string_view &rest);

// The params of embed_batch for these texts.
void join_embed_params(std::span<const std::string> texts, std::string_view rest, std::string &params);

// The arrays of numbers in the answer to embed_batch ({"embeddings": [[...], ...], ...}), an array for each text; false
// if the answer has another shape.
[[nodiscard]] bool split_embed_batch_reply(std::string_view body, std::size_t count,
                                           std::vector<std::string_view> &rows);

}  // namespace steadytext::core
