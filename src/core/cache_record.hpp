// A record by which a session reports an answer, a hit or a new key to the keeper, for the table cache: to bytes and
// back.
//
// Written by src/session/answer_cache.cpp into shared memory, read by bgworker/keeper_sql.cpp in another process of the
// same server, so numbers are in the machine's own format. A standby sends records to its primary, which has the same
// format (bgworker/hub_main.cpp, src/functions/hub.cpp). Regime: pure.
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
        Rekey,   // the row with `legacy_key` gets this key
    };
    // The members of fixed size.
    struct Numbers {
        Kind kind = Kind::Answer;
        Digest key{};
        std::uint32_t role = 0;  // OID of the role that owns the answer; 0: all roles, and of a Hit: not known
        std::int32_t seed = 0;
        std::int32_t prompt_tokens = -1;  // -1: not reported
        std::int32_t completion_tokens = -1;
        std::int32_t generation_ms = -1;
        std::int32_t hits = 1;        // of a Hit
        std::int64_t at_us = 0;       // since 1970
        std::int64_t expires_us = 0;  // since 1970; 0: never
    } numbers;
    std::string_view legacy_key;
    std::string_view operation;  // generate, embed ...
    std::string_view scope;      // the owner of the answer, as text
    std::string_view prompt;
    std::string_view text;    // the answer
    std::string_view vector;  // or this: floats
    std::string_view model;
    std::string_view fingerprint;
    std::string_view size;
    std::string_view eos;
    std::string_view params;  // JSON object
    std::string_view finish_reason;
    std::string_view key_params;  // what the key was made of beside the prompt; only of an answer for a hub
};

void encode(const CacheRecord &record, std::string &bytes);
// The texts point into `bytes`. False if the bytes are no record.
[[nodiscard]] bool decode(std::string_view bytes, CacheRecord &record) noexcept;

}  // namespace steadytext::core
