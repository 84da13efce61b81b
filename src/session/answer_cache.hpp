// Cached answers as the functions want them: texts with their token counts, vectors.
//
// Called by src/session. Regime: pg (noexcept in fact). Behind it: the hot cache in shared memory (shmem/hot_cache.hpp).
#pragma once

#include "src/core/sha256.hpp"

#include <string_view>
#include <vector>

namespace steadytext::session {

struct CachedText {
    std::string_view text;
    int prompt_tokens = -1;
    int completion_tokens = -1;
    std::string_view finish_reason;
};

// On a hit the text is in CurrentMemoryContext.
[[nodiscard]] bool recall_text(const core::Digest &key, CachedText &found);
// Best effort: a value that finds no room is not an error.
void remember_text(const core::Digest &key, const CachedText &value);

[[nodiscard]] bool recall_vector(const core::Digest &key, std::vector<float> &vector);
void remember_vector(const core::Digest &key, const std::vector<float> &vector);

}  // namespace steadytext::session
