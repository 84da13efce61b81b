// Cache keys: SHA-256 over prefix, NFC-normalised prompt, "|" and the canonical JSON of all parameters.
//
// Called by src/session and src/functions/cache_key.cpp. Regime: pure (noexcept). The JSON must equal the output of
// Python's json.dumps(params, sort_keys=True) (json_text.hpp writes it so), so that the keys of every tool and node
// agree.
#pragma once

#include "src/core/problem.hpp"
#include "src/core/sha256.hpp"

#include <string_view>

namespace steadytext::core {

[[nodiscard]] inline bool cache_key(std::string_view prefix, std::string_view normal_prompt,
                                    std::string_view canonical_params, Digest &key, Problem &problem) noexcept {
    Sha256 *sha = Sha256::instance();
    if (sha == nullptr)
        return problem.set(sqlstate::kInternalError, "OpenSSL provides no SHA-256");
    sha->begin();
    sha->add(prefix);
    sha->add(normal_prompt);
    sha->add("|");
    sha->add(canonical_params);
    key = sha->finish();
    return true;
}

// The key under which the PL/Python original kept an embedding.
[[nodiscard]] inline bool original_embedding_key(std::string_view text, std::string_view model, Digest &key,
                                                 Problem &problem) noexcept {
    Sha256 *sha = Sha256::instance();
    if (sha == nullptr)
        return problem.set(sqlstate::kInternalError, "OpenSSL provides no SHA-256");
    sha->begin();
    sha->add("embed:");
    sha->add(text);
    if (!model.empty()) {
        sha->add(":");
        sha->add(model);
    }
    key = sha->finish();
    return true;
}

}  // namespace steadytext::core
