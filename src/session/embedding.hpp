// A text embedding from beginning to end: check, key, cache, daemon, cache again.
//
// Called by src/functions/embed.cpp. Regime: pg.
#pragma once

#include "src/core/rules.hpp"

#include <cstdint>
#include <span>

namespace steadytext::session {

struct EmbeddingRequest {
    core::TextArgument text;
    std::int64_t seed = 42;
    core::TextArgument model;
    bool use_cache = true;
    bool unsafe_mode = false;
    bool wants_key = false;  // compute the cache key also where the cache is not asked
};

// The unit vector, of steadytext.embedding_dimensions numbers, in CurrentMemoryContext; empty where no daemon could
// answer. A shorter vector is padded with zeros, which keeps every cosine and distance; a longer vector is cut and
// brought to length 1. Raises on bad arguments, and on failure if steadytext.on_failure = error.
[[nodiscard]] std::span<const float> embed(const EmbeddingRequest &request);

// The same as far as the limits, for a caller with many calls under way (concurrent_calls.hpp). In
// CurrentMemoryContext, as is all memory that the call takes later; the request's texts are used until its end.
class ModelCall;
[[nodiscard]] ModelCall *begin_embedding(const EmbeddingRequest &request);

}  // namespace steadytext::session
