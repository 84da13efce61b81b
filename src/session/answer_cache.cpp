// Looking up and remembering: see answer_cache.hpp. Regime: pg, with C++ only inside guarded().
#include "src/pg/compat.hpp"
#include "src/session/answer_cache.hpp"
#include "shmem/segment.hpp"
#include "src/core/cache_key.hpp"
#include "src/core/clock.hpp"
#include "src/guc.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/text.hpp"
#include "src/session/cache_clears.hpp"
#include "src/session/hub_link.hpp"
#include "src/session/keeper_call.hpp"
#include "src/session/observe.hpp"
#include "src/session/cache_scope.hpp"

extern "C" {
#include "access/xlog.h"
#include "miscadmin.h"
}

#include <string>

namespace steadytext::session {

using core::CacheRecord;
using shmem::CacheLevel;
using shmem::Counter;

namespace {

std::uint32_t my_shard() { return static_cast<std::uint32_t>(pg::my_proc_number()); }

// ---- the hot cache -------------------------------------------------------------------------------------------------

// Null: there is none, or it is switched off.
shmem::HotCache *hot_cache() { return guc::hot_cache && guc::new_cache_keys ? shmem::segment().hot_cache : nullptr; }

std::uint64_t epoch_now() { return shmem::segment().cache_epochs->of(MyDatabaseId); }

shmem::CacheOwner owner_of(const CacheQuery &query) {
    return {MyDatabaseId, query.role, static_cast<std::uint32_t>(epoch_now())};
}

// The value's bytes in palloc'd memory; false if it is not there.
bool read_hot(const CacheQuery &query, std::string_view &value, std::int64_t &expires_us) {
    shmem::HotCache *hot = hot_cache();
    if (hot == nullptr || !is_fresh())
        return false;
    // Room is made between the two steps, because nothing may raise within a step. If the value moves meanwhile, it is
    // looked up again.
    char *buffer = nullptr;
    std::size_t room = 0;
    constexpr int kLooks = 16;
    const std::int64_t now_us = core::unix_us();
    for (int looks = 0; looks < kLooks; looks++) {
        shmem::CacheHit hit;
        if (!hot->find(query.key, owner_of(query), now_us, hit) || hit.kind != query.kind)
            return false;
        if (buffer == nullptr || hit.size > room) {
            room = hit.size;
            buffer = static_cast<char *>(palloc_extended(room, MCXT_ALLOC_HUGE));
        }
        if (!hot->copy_out(hit, now_us, buffer))
            continue;
        value = {buffer, hit.size};
        expires_us = hit.expires_us;
        return true;
    }
    return false;
}

void insert_hot(const CacheQuery &query, const CachedAnswer &answer) {
    shmem::HotCache *hot = hot_cache();
    // A clearing between the lookup and the insertion leaves a value of an earlier epoch, which no session finds.
    const shmem::CacheOwner owner{MyDatabaseId, query.role, static_cast<std::uint32_t>(query.epoch)};
    if (hot != nullptr && query.epoch == epoch_now())
        (void)hot->insert(query.key, {answer.kind, pack(answer), owner, answer.expires_us}, core::unix_us());
}

// ---- the table -----------------------------------------------------------------------------------------------------

// Tells the keeper; the first of many records wakes it. On a standby the hub worker sends the record to the hub; without
// a hub it stays unwritten there. An independent node has both, and the hub gets a record of its own.
void tell_keeper(const CacheRecord &record, std::uint64_t epoch, bool is_for_node = false) {
    const shmem::Segment &segment = shmem::segment();
    shmem::DatabaseRow *row = my_database();
    if (row == nullptr || (RecoveryInProgress() && !guc::has_hub()))
        return;
    static std::string *bytes = new std::string;
    pg::guarded([&] { core::encode(record, *bytes); });
    if (is_for_node)
        if (shmem::HubLink *link = node_link(); link != nullptr)
            tell_hub(*link, *bytes, epoch);
    // Announced first, so that the count is never less than the number of records in the ring.
    const bool is_first = row->pending_writes.fetch_add(1) == 0;
    if (!segment.cache_writes->put(MyDatabaseId, epoch, *bytes)) {
        row->pending_writes.fetch_sub(1);
        segment.counters->add(my_shard(), Counter::CacheWritesDropped);
        return;
    }
    if (is_first)
        wake_keeper(*row);
}

bool note(shmem::CacheLevel level, bool found, const CachedAnswer &answer) {
    if (found)
        observe::hit(level, answer.completion_tokens);
    else
        observe::missed(level);
    return found;
}

bool recall_table(const core::Digest &key, Oid whose, const CacheQuery &query, CachedAnswer &answer) {
    char hex[core::kHexBytes];
    core::to_hex(key, hex);
    if (!is_table_fresh() || !read_table({hex, sizeof hex}, query.kind, whose, nullptr, answer))
        return false;
    CacheRecord hit;
    hit.numbers.kind = CacheRecord::Kind::Hit;
    hit.numbers.key = key;
    hit.numbers.role = is_for_hub() ? whose : InvalidOid;
    hit.numbers.at_us = core::unix_us();
    hit.scope = query.scope;
    tell_keeper(hit, query.epoch, !query.scope.empty());
    return true;
}

bool is_accepted(const LegacyQuery &legacy, CachedAnswer &answer) {
    return legacy.accept == nullptr || legacy.accept(legacy.context, answer);
}

bool recall_migrated(const CacheQuery &query, const LegacyQuery &legacy, CachedAnswer &answer) {
    return recall_table(legacy.migrated_key, InvalidOid, query, answer) && is_accepted(legacy, answer);
}

// A row under the original's key gets its migrated key, where there are keys of this version.
bool recall_original(const CacheQuery &query, const LegacyQuery &legacy, CachedAnswer &answer) {
    if (!is_table_fresh() || !read_table(legacy.original_key, query.kind, InvalidOid, &legacy.condition, answer) ||
        !is_accepted(legacy, answer))
        return false;
    if (!guc::new_cache_keys)
        return true;
    CacheRecord rekey;
    rekey.numbers.kind = CacheRecord::Kind::Rekey;
    rekey.numbers.key = legacy.migrated_key;
    rekey.numbers.at_us = core::unix_us();
    rekey.legacy_key = legacy.original_key;
    tell_keeper(rekey, query.epoch);
    return true;
}

// Up to a tenth more or less than cache_ttl, by the key.
std::int64_t expiry(const core::Digest &key, std::int64_t now_us) {
    if (guc::cache_ttl_s == 0)
        return 0;
    const std::int64_t ttl_us = std::int64_t{guc::cache_ttl_s} * 1'000'000;
    return now_us + ttl_us + ttl_us / 10 * (int{key.bytes[0]} - 128) / 128;
}

}  // namespace

CacheQuery new_query(shmem::ValueKind kind) {
    heed_clears();
    CacheQuery query{{}, kind, epoch_now(), scope_role()};
    if (node_link() != nullptr)
        query.scope = pg::copy_text(cache_scope());
    return query;
}

core::Digest cache_key(std::string_view prefix, std::string_view text, std::string_view params) {
    core::Digest key;
    core::Problem problem;
    if (!core::cache_key(prefix, text, params, key, problem))
        pg::raise(problem);
    return key;
}

// The digest, with 128 of its bits changed by the database, the role and the epoch, which are not in it. To make two
// such keys equal is as hard as to make two digests equal.
core::Digest flight_key(const CacheQuery &query, Oid role) {
    core::Digest key = query.key;
    std::uint64_t words[2];
    memcpy(words, key.bytes, sizeof words);
    words[0] ^= std::uint64_t{MyDatabaseId} << 32 | role;
    words[1] ^= query.epoch;
    memcpy(key.bytes, words, sizeof words);
    return key;
}

bool recall_hot(const CacheQuery &query, CachedAnswer &answer) {
    std::string_view value;
    if (!read_hot(query, value, answer.expires_us) || !unpack(query.kind, value, answer))
        return false;
    if (!answer.is_legacy || guc::legacy_cache_keys)
        return true;
    answer = {};
    return false;
}

bool recall(const CacheQuery &query, CachedAnswer &answer) {
    if (!guc::new_cache_keys)
        return false;
    if (note(CacheLevel::Hot, recall_hot(query, answer), answer))
        return true;
    if (!note(CacheLevel::Table, recall_table(query.key, query.role, query, answer), answer))
        return false;
    insert_hot(query, answer);
    return true;
}

bool recall_again(const CacheQuery &query, CachedAnswer &answer) {
    return guc::new_cache_keys && (recall_hot(query, answer) || recall_table(query.key, query.role, query, answer));
}

bool recall_legacy(const CacheQuery &query, const LegacyQuery &legacy, CachedAnswer &answer) {
    const bool found = recall_migrated(query, legacy, answer) || recall_original(query, legacy, answer);
    answer.is_legacy = found;
    if (note(CacheLevel::Legacy, found, answer))
        insert_hot(query, answer);
    return found;
}

void note_lookup(bool hit) {
    const shmem::Segment &segment = shmem::segment();
    if (!hit)
        segment.counters->add(my_shard(), Counter::CacheMisses);
    if (shmem::DatabaseRow *row = my_database(); row != nullptr)
        row->count(my_shard(), hit);
}

void remember(const CacheQuery &query, CacheRecord row, const CachedAnswer &answer) {
    if (!guc::new_cache_keys)
        return;
    CachedAnswer kept = answer;
    row.numbers.kind = CacheRecord::Kind::Answer;
    row.numbers.key = query.key;
    row.numbers.role = query.role;
    row.numbers.at_us = core::unix_us();
    kept.expires_us = expiry(query.key, row.numbers.at_us);
    if (answer.expires_us != 0)  // as the hub has it
        kept.expires_us = kept.expires_us == 0 ? answer.expires_us : std::min(kept.expires_us, answer.expires_us);
    row.numbers.expires_us = kept.expires_us;
    row.numbers.prompt_tokens = answer.prompt_tokens;
    row.numbers.completion_tokens = answer.completion_tokens;
    row.text = answer.text;
    row.vector = answer.vector;
    row.finish_reason = answer.finish_reason;
    insert_hot(query, kept);
    if (query.is_from_hub)
        row.key_params = {};
    tell_keeper(row, query.epoch, !row.key_params.empty());
}

bool is_current(const CacheQuery &query) { return query.epoch == epoch_now(); }

bool is_for_hub() { return guc::has_hub() && (RecoveryInProgress() || node_link() != nullptr); }

// Also at a commit, where it must raise nothing: without the library there is nothing to forget.
void forget_cached() {
    if (shmem::segment_attached())
        shmem::segment().cache_epochs->clear(MyDatabaseId);
}

}  // namespace steadytext::session
