// Reading steadytext_cache: one probe of the index on cache_key.
//
// Called by src/session/answer_cache.cpp. Regime: pg. No query is planned and no privilege on the table is needed: a key
// contains its scope, so what it finds is the caller's own. The newest committed rows are seen, also by a transaction that
// began before them. Works on read-only transactions, in parallel workers and on standbys, as it writes nothing. The table
// is never waited for: while somebody has it locked exclusively, nothing is found.
#pragma once

#include "src/pg/postgres.hpp"
#include "src/session/cached_answer.hpp"

#include <string_view>

namespace steadytext::session {

// What a row of the original must say besides having the right key.
struct LegacyCondition {
    std::string_view model;      // empty: the original's default
    std::int64_t seed;
    std::int64_t max_tokens;     // -1: of no account
    std::string_view prompt{};   // empty: of no account
};

// The answer under the key `hex`, if it has not expired. `condition`: null for keys that say everything themselves.
// `role`: whose the row must be by its scope_role, as its key tells the role's name only; InvalidOid: nobody's in
// particular.
[[nodiscard]] bool read_table(std::string_view hex, shmem::ValueKind kind, Oid role, const LegacyCondition *condition,
                              CachedAnswer &answer);

}  // namespace steadytext::session
