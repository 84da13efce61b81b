// How well a document answers a query by its words alone: the original's own stand-in for a model.
//
// Called by src/session/reranking.cpp. Regime: pure (may throw std::bad_alloc).
#pragma once

#include <cstddef>
#include <string_view>

namespace steadytext::core {

// 0.35 for each word of the query that the document contains, 0.25 for each of the task's, and a little for coming early;
// from 0.01 to 1. `position` counts from 1. Case of ASCII letters does not matter.
[[nodiscard]] double lexical_score(std::string_view query, std::string_view document, std::string_view task,
                                   std::size_t position);

}  // namespace steadytext::core
