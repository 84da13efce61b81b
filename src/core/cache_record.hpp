// What a session tells the keeper about the table cache: one record, as bytes and back.
//
// Written by src/session/answer_cache.cpp into shared memory, read by bgworker/keeper_writes.cpp in another process of the
// same server, so numbers are as the machine has them. Regime: pure.
#pragma once

#include "src/core/sha256.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace steadytext::core {

struct CacheRecord {
    enum class Kind : std::uint8_t {
        Answer,  // a new row
        Hit,     // the row with this key was read
        Rekey,   // the row whose key is `legacy_key` gets this key
    };
    // What has a size known to all.
    struct Numbers {
        Kind kind = Kind::Answer;
        Digest key{};
        std::uint32_t role = 0;               // whose answer it is, by number; 0: all roles'
        std::int32_t seed = 0;
        std::int32_t prompt_tokens = -1;      // -1: not told
        std::int32_t completion_tokens = -1;
        std::int32_t generation_ms = -1;
        std::int64_t at_us = 0;               // since 1970
        std::int64_t expires_us = 0;          // since 1970; 0: never
    } numbers;
    std::string_view legacy_key;
    std::string_view operation;  // generate, embed ...
    std::string_view scope;      // whose answer it is
    std::string_view prompt;
    std::string_view text;       // the answer
    std::string_view vector;     // or this: floats
    std::string_view model;
    std::string_view fingerprint;
    std::string_view size;
    std::string_view eos;
    std::string_view params;     // JSON object
    std::string_view finish_reason;
};

void encode(const CacheRecord &record, std::string &bytes);
// The texts point into `bytes`. False if these are no record.
[[nodiscard]] bool decode(std::string_view bytes, CacheRecord &record) noexcept;

}  // namespace steadytext::core
