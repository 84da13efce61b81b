// A ranking from beginning to end: check, key, cache, daemon, cache again. All documents of a call go in a single
// request.
//
// Called by src/functions/rerank.cpp. Regime: pg.
#pragma once

#include "src/core/rules.hpp"

#include <cstdint>
#include <span>

namespace steadytext::session {

struct RerankRequest {
    core::TextArgument query;
    bool documents_are_null = true;
    std::span<const core::TextArgument> documents;
    core::TextArgument task;
    std::int64_t seed = 42;
};

struct RankedDocument {
    std::uint32_t index;  // in the request's documents
    double score;         // from 0 to 1
    bool has_score;       // false: no daemon could answer, and steadytext.on_failure = null
};

// Best first, equals in the order they came; in CurrentMemoryContext. When no daemon can answer the scores are lexical
// (src/core/lexical_score.hpp), or as steadytext.on_failure says. Raises on bad arguments.
[[nodiscard]] std::span<const RankedDocument> rerank(const RerankRequest &request);

// The same as far as the limits, for a caller with many calls under way (concurrent_calls.hpp). In
// CurrentMemoryContext, as is all memory that the call takes later; the request's texts are used until its end.
class ModelCall;
[[nodiscard]] ModelCall *begin_reranking(const RerankRequest &request);

}  // namespace steadytext::session
