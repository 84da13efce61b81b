// An answer as the cache keeps it: a text with its counts, or a vector of floats.
//
// Used by src/session. Regime: pg. The texts live in CurrentMemoryContext.
#pragma once

#include "shmem/hot_cache.hpp"

#include <cstdint>
#include <string_view>

namespace steadytext::session {

struct CachedAnswer {
    shmem::ValueKind kind = shmem::ValueKind::Text;
    std::string_view text;
    std::string_view vector;  // floats
    int prompt_tokens = -1;   // -1: not told
    int completion_tokens = -1;
    std::string_view finish_reason;
    bool is_legacy =
        false;  // an answer of the PL/Python original: whose model is not told, and which may be switched off
    std::int64_t expires_us = 0;  // since 1970; 0: never
};

// As a single string of bytes, for shared memory; in CurrentMemoryContext.
[[nodiscard]] std::string_view pack(const CachedAnswer &answer);
// The answer points into `bytes`. False if the bytes are no packed answer.
[[nodiscard]] bool unpack(shmem::ValueKind kind, std::string_view bytes, CachedAnswer &answer);

}  // namespace steadytext::session
