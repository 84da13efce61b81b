// Reading steadytext_cache: a single probe of the index on cache_key.
//
// Called by src/session/answer_cache.cpp. Regime: pg. No query is planned and no privilege on the table is needed: a
// key contains its scope, so the probe finds only the caller's own answers. It sees the newest committed rows, also in
// a transaction that began before them (in parallel mode: the rows of the active snapshot). It works in read-only
// transactions, in parallel workers and on standbys, as it writes nothing. It never waits for the table: while another
// transaction has the table locked exclusively, it finds nothing.
#pragma once

#include "src/pg/postgres.hpp"
#include "src/session/cached_answer.hpp"

#include <string_view>

namespace steadytext::session {

// The conditions for a row of the original, besides the right key.
struct LegacyCondition {
    std::string_view model;  // empty: the original's default
    std::int64_t seed;
    std::int64_t max_tokens;    // -1: of no account
    std::string_view prompt{};  // empty: of no account
};

// The answer under the key `hex`, if it has not expired. `condition`: null for keys that say everything themselves.
// `role`: the role that the row's scope_role must be, as its key has the role's name only; InvalidOid: the row must
// have no scope_role.
[[nodiscard]] bool read_table(std::string_view hex, shmem::ValueKind kind, Oid role, const LegacyCondition *condition,
                              CachedAnswer &answer);

}  // namespace steadytext::session
