// Cached answers of this database: the hot cache in shared memory, behind it the table steadytext_cache.
//
// Called by src/session. Regime: pg. Sessions read both and write the hot cache. The keeper writes the table
// (bgworker/keeper_main.cpp); sessions tell it by way of shared memory. Everything is best effort: an answer that finds
// no room is not an error.
#pragma once

#include "src/pg/postgres.hpp"
#include "src/core/cache_record.hpp"
#include "src/session/cached_answer.hpp"
#include "src/session/table_cache.hpp"

namespace steadytext::session {

// Made before an answer is looked up or computed: an answer that is older than the last clearing of the database's
// cache is not remembered. The key has the names of database and role in it; `role`, and the database's number, tell
// namesakes apart.
struct CacheQuery {
    core::Digest key;
    shmem::ValueKind kind;
    std::uint64_t epoch;
    Oid role;                     // InvalidOid: answers are shared by all roles of the database
    std::string_view scope = {};  // on a node, for the hub
    bool is_from_hub = false;     // the answer is, and need not go there
};
[[nodiscard]] CacheQuery new_query(shmem::ValueKind kind);
[[nodiscard]] core::Digest cache_key(std::string_view prefix, std::string_view text, std::string_view params);

// The same for all sessions of the role, which logged in, that wait for the same answer.
[[nodiscard]] core::Digest flight_key(const CacheQuery &query, Oid role);

// Where an answer of the original may be found.
struct LegacyQuery {
    std::string_view original_key;  // as the original made it
    core::Digest migrated_key;      // the key that steadytext_cache_migrate_keys() makes of it
    LegacyCondition condition;      // for the original key, which does not say it all
    // Brings the answer, under either key, to its form of today, or refuses it: the original also kept zeros, and
    // answers without the form that was asked for. May be null.
    bool (*accept)(const void *context, CachedAnswer &answer) = nullptr;
    const void *context = nullptr;
};

[[nodiscard]] bool recall(const CacheQuery &query, CachedAnswer &answer);
// The same without the table: for a second look.
[[nodiscard]] bool recall_hot(const CacheQuery &query, CachedAnswer &answer);
// The same, table and all, without counting: a node may have brought the answer meanwhile.
[[nodiscard]] bool recall_again(const CacheQuery &query, CachedAnswer &answer);
// A hit under the original's key gives the row its migrated key.
[[nodiscard]] bool recall_legacy(const CacheQuery &query, const LegacyQuery &legacy, CachedAnswer &answer);
// Nothing was cleared since the query was made: its answer is remembered.
[[nodiscard]] bool is_current(const CacheQuery &query);
// Counts the outcome of a lookup.
void note_lookup(bool hit);

// `row` says for which call and role the answer is; the answer's own members are filled in here.
void remember(const CacheQuery &query, core::CacheRecord row, const CachedAnswer &answer);

// Whether records go to a hub, of a standby or of an independent node, which checks that an answer's key is made of the prompt and CacheRecord::key_params.
[[nodiscard]] bool is_for_hub();

// From now on an answer of this database that was cached before this call is not found in shared memory, nor written to
// the table.
void forget_cached();

}  // namespace steadytext::session
