// Statements for whole batches: see keeper_sql.hpp. Regime: pg.
//
// Every statement has arrays as parameters and runs once per batch: a single plan, and a single call of each statement
// trigger.
#include "src/pg/compat.hpp"
#include "bgworker/keeper_sql.hpp"
#include "bgworker/batch_columns.hpp"
#include "bgworker/node_batch.hpp"
#include "src/core/cache_record.hpp"
#include "src/guc.hpp"
#include "src/pg/cache_lock.hpp"
#include "src/pg/own_table.hpp"
#include "src/pg/text.hpp"
#include "src/pg/time.hpp"
#include "src/pg/vector.hpp"

extern "C" {
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
}

#include <iterator>

namespace steadytext::worker {

namespace {

using core::CacheRecord;

constexpr const char *kInsert = R"(
    INSERT INTO public.steadytext_cache (cache_key, prompt, response, embedding, model_name, model_size, seed, eos_string,
        generation_params, response_size, generation_time_ms, operation, scope, fingerprint, prompt_tokens,
        completion_tokens, finish_reason, created_at, last_accessed, expires_at)
    SELECT key, prompt, response, embedding, coalesce(model, 'unknown'),
           CASE WHEN size IN ('small', 'medium', 'large') THEN size END, seed, eos, params::jsonb,
           octet_length(response), generation_ms, operation, scope, fingerprint, prompt_tokens, completion_tokens,
           reason, at, at, expires
    FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
         AS answers (key, prompt, response, embedding, model, size, seed, eos, params, generation_ms, operation, scope,
                     fingerprint, prompt_tokens, completion_tokens, reason, at, expires, role)
    WHERE role = 0 OR role = _steadytext.scope_role(scope)  -- whoever has the name now is who asked
    ON CONFLICT DO NOTHING)";

// If an answer had expired and was computed anew, its old row makes room. So does a row under this key that answers
// nobody: a row of the original, or an untrusted row (src/session/table_cache.cpp).
constexpr const char *kDeleteStale = R"(
    DELETE FROM public.steadytext_cache
    WHERE cache_key = ANY ($1) AND (expires_at <= now() OR fingerprint IS NULL OR fingerprint = 'untrusted'
                                      OR scope_role IS DISTINCT FROM _steadytext.scope_role(scope)))";

constexpr const char *kAddHits = R"(
    UPDATE public.steadytext_cache c
    SET access_count = least(coalesce(c.access_count, 0) + h.hits, 2147483647)::int,
        last_accessed = greatest(c.last_accessed, h.at), steadytext_cache_hit = true
    FROM (SELECT key, sum(hits) AS hits, max(at) AS at FROM unnest($1, $2, $3) AS hits (key, hits, at) GROUP BY key) h
    WHERE c.cache_key = h.key)";

// The same for hits that another node reports: only a row of the role whose hits they are.
constexpr const char *kAddHitsOfRoles = R"(
    UPDATE public.steadytext_cache c
    SET access_count = least(coalesce(c.access_count, 0) + h.hits, 2147483647)::int,
        last_accessed = greatest(c.last_accessed, h.at), steadytext_cache_hit = true
    FROM (SELECT key, role, sum(hits) AS hits, max(at) AS at FROM unnest($1, $2, $3, $4) AS hits (key, hits, at, role)
          GROUP BY key, role) h
    WHERE c.cache_key = h.key AND c.scope_role = h.role)";

constexpr const char *kRekey = R"(
    UPDATE public.steadytext_cache c
    SET cache_key = $2, fingerprint = 'legacy', scope = '', access_count = coalesce(c.access_count, 0) + 1,
        last_accessed = $3, steadytext_cache_hit = true,
        operation = CASE WHEN c.embedding IS NULL THEN 'generate' ELSE 'embed' END
    WHERE c.cache_key = $1 AND c.fingerprint IS NULL
      AND NOT EXISTS (SELECT FROM public.steadytext_cache WHERE cache_key = $2))";

// If the ledger is empty although the table has rows (a restore without triggers), or contains impossible numbers (a
// change by hand), the rows are counted. A role whose rows are all gone leaves the ledger.
constexpr const char *kCompactLedger = R"(
    WITH gone AS (DELETE FROM _steadytext.cache_ledger RETURNING role, entries, bytes),
         told AS (SELECT role, sum(entries) AS entries, sum(bytes) AS bytes FROM gone GROUP BY role),
         ledger AS (SELECT coalesce(bool_and(_steadytext.cache_ledger_holds(entries, bytes)), false) AS holds FROM told)
    INSERT INTO _steadytext.cache_ledger SELECT role, entries, bytes FROM told WHERE (SELECT holds FROM ledger) AND entries > 0
    UNION ALL SELECT coalesce(scope_role, 0), count(*), sum(entry_bytes) FROM public.steadytext_cache
              WHERE NOT (SELECT holds FROM ledger) GROUP BY 1)";

// A row that would not change is not written.
constexpr const char *kForgetDaemons = R"(
    DELETE FROM _steadytext.steadytext_daemon_health h
    WHERE NOT EXISTS (SELECT FROM _steadytext.daemon_health() d WHERE d.daemon_id = h.daemon_id))";
constexpr const char *kWriteHealth = R"(
    INSERT INTO _steadytext.steadytext_daemon_health AS h
        (daemon_id, endpoint, last_heartbeat, uptime_seconds, status, version, models_loaded, memory_usage_mb,
         active_connections, total_requests, error_count, avg_response_time_ms)
    SELECT DISTINCT ON (daemon_id) daemon_id, endpoint, last_heartbeat, uptime_seconds, status, version, models_loaded,
         memory_usage_mb, active_connections, total_requests, error_count, avg_response_time_ms
    FROM _steadytext.daemon_health() ORDER BY daemon_id, status = 'stopping'
    ON CONFLICT (daemon_id) DO UPDATE
    SET (endpoint, last_heartbeat, uptime_seconds, status, version, models_loaded, memory_usage_mb, active_connections,
         total_requests, error_count, avg_response_time_ms)
      = (excluded.endpoint, excluded.last_heartbeat, excluded.uptime_seconds, excluded.status, excluded.version,
         excluded.models_loaded, excluded.memory_usage_mb, excluded.active_connections, excluded.total_requests,
         excluded.error_count, excluded.avg_response_time_ms)
    WHERE h.* IS DISTINCT FROM excluded.*)";

// $1: seconds. Deletes a page at a time, along the index of the oldest rows.
constexpr const char *kDeleteOldUsage = R"(
    DELETE FROM public.steadytext_usage WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM public.steadytext_usage WHERE day < ((clock_timestamp() - $1 * interval '1 second') AT TIME ZONE 'UTC')::date
        ORDER BY day LIMIT 5000 FOR UPDATE SKIP LOCKED)))";
constexpr const char *kDeleteOldAudit = R"(
    DELETE FROM public.steadytext_audit_log WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM public.steadytext_audit_log WHERE created_at < clock_timestamp() - $1 * interval '1 second'
        ORDER BY created_at LIMIT 5000 FOR UPDATE SKIP LOCKED)))";
constexpr std::uint64_t kPage = 5000;

// A table that somebody has locked is left for the next time.
bool delete_page(const char *table, const char *statement, int retention_s) {
    const Oid relation = retention_s == 0 ? InvalidOid : pg::own_table(table);
    if (!OidIsValid(relation) || !ConditionalLockRelationOid(relation, RowExclusiveLock) ||
        pg::lock_own_table(table) != relation)
        return false;
    Oid types[] = {INT4OID};
    Datum values[] = {Int32GetDatum(retention_s)};
    if (SPI_execute_with_args(statement, 1, types, values, nullptr, false, 0) != SPI_OK_DELETE)
        elog(ERROR, "could not delete old rows of %s", table);
    return SPI_processed == kPage;
}

Datum hex_text(const core::Digest &key) {
    char hex[core::kHexBytes];
    core::to_hex(key, hex);
    return PointerGetDatum(cstring_to_text_with_len(hex, sizeof hex));
}

Oid vector_type() {
    const Oid table = pg::own_table("steadytext_cache");
    return get_atttype(table, get_attnum(table, "embedding"));
}

// The rows of a batch of new answers.
class Answers {
public:
    explicit Answers(int capacity) {
        const Oid types[] = {TEXTOID, TEXTOID, TEXTOID,        vector_type(),  TEXTOID, TEXTOID, INT4OID,
                             TEXTOID, TEXTOID, INT4OID,        TEXTOID,        TEXTOID, TEXTOID, INT4OID,
                             INT4OID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, OIDOID};
        static_assert(std::size(types) == kColumns);
        for (std::size_t i = 0; i < kColumns; i++)
            columns_[i].begin(types[i], capacity);
    }

    void add(const CacheRecord &record) {
        const CacheRecord::Numbers &numbers = record.numbers;
        ArrayColumn *column = columns_;
        column++->add(hex_text(numbers.key));
        column++->add(pg::text_datum(record.prompt));
        record.vector.empty() ? column++->add(pg::text_datum(record.text)) : column++->add_null();
        record.vector.empty() ? column++->add_null() : column++->add(vector(record.vector));
        column++->add_text(pg::fitted_to_encoding(record.model));
        column++->add_text(record.size);
        column++->add(Int32GetDatum(numbers.seed));
        column++->add_text(record.eos);
        column++->add_text(record.params);
        column++->add_number(numbers.generation_ms);
        column++->add_text(record.operation);
        column++->add(pg::text_datum(record.scope));
        column++->add(pg::text_datum(pg::fitted_to_encoding(record.fingerprint)));
        column++->add_number(numbers.prompt_tokens);
        column++->add_number(numbers.completion_tokens);
        column++->add_text(record.finish_reason);
        column++->add_time(numbers.at_us);
        column++->add_time(numbers.expires_us);
        column++->add(ObjectIdGetDatum(numbers.role));
        count_++;
    }

    void write() const {
        if (count_ == 0)
            return;
        execute(kInsert, columns_, SPI_OK_INSERT);
        if (SPI_processed == static_cast<std::uint64_t>(count_))
            return;
        const ArrayColumn keys[] = {columns_[0]};
        execute(kDeleteStale, keys, SPI_OK_DELETE);
        if (SPI_processed > 0)
            execute(kInsert, columns_, SPI_OK_INSERT);
    }

private:
    static constexpr std::size_t kColumns = 19;

    static Datum vector(std::string_view bytes) {
        auto *values = static_cast<float *>(palloc(bytes.size()));  // aligned; the record's bytes need not be
        memcpy(values, bytes.data(), bytes.size());
        return pg::vector_datum({values, bytes.size() / sizeof(float)});
    }

    ArrayColumn columns_[kColumns];
    int count_ = 0;
};

class Hits {
public:
    static constexpr int kMost = 1000;
    explicit Hits(bool is_for_hub = false) : is_for_hub_(is_for_hub) { begin(); }
    void add(const core::Digest &key, std::int64_t hits, std::int64_t at_us) {
        columns_[0].add(hex_text(key));
        columns_[1].add(Int64GetDatum(hits));
        columns_[2].add_time(at_us);
        if (++count_ == kMost)
            write();
    }
    void write() {
        if (count_ > 0)
            execute(kAddHits, columns_, SPI_OK_UPDATE);
        if (count_ > 0 && is_for_hub_)
            tell_hub_of_hits(columns_[0].array(), columns_[1].array(), columns_[2].array());
        begin();
    }

private:
    void begin() {
        const Oid types[] = {TEXTOID, INT8OID, TIMESTAMPTZOID};
        for (std::size_t i = 0; i < std::size(types); i++)
            columns_[i].begin(types[i], kMost);
        count_ = 0;
    }
    ArrayColumn columns_[3];
    int count_;
    bool is_for_hub_;
};

// Hits of roles on other nodes, as many as a batch has.
class HitsOfRoles {
public:
    HitsOfRoles() {
        const Oid types[] = {TEXTOID, INT8OID, TIMESTAMPTZOID, OIDOID};
        for (std::size_t i = 0; i < std::size(types); i++)
            columns_[i].begin(types[i], TakenWrites::kMost);
    }
    void add(const CacheRecord::Numbers &hit) {
        columns_[0].add(hex_text(hit.key));
        columns_[1].add(Int64GetDatum(hit.hits));
        columns_[2].add_time(hit.at_us);
        columns_[3].add(ObjectIdGetDatum(hit.role));
        count_++;
    }
    void write() const {
        if (count_ > 0)
            execute(kAddHitsOfRoles, columns_, SPI_OK_UPDATE);
    }

private:
    ArrayColumn columns_[4];
    int count_ = 0;
};

// Texts from daemons, and prompts in NFC, may have characters that the database's encoding lacks.
bool fits_encoding(const CacheRecord &record) {
    for (const std::string_view text : {record.legacy_key, record.operation, record.scope, record.prompt, record.text,
                                        record.size, record.eos, record.params, record.finish_reason})
        if (!pg::fits_encoding(text))
            return false;
    return true;
}

void rekey(const CacheRecord &record) {
    Oid types[] = {TEXTOID, TEXTOID, TIMESTAMPTZOID};
    Datum values[] = {pg::text_datum(record.legacy_key), hex_text(record.numbers.key),
                      TimestampTzGetDatum(pg::timestamp_of(record.numbers.at_us))};
    if (SPI_execute_with_args(kRekey, 3, types, values, nullptr, false, 0) != SPI_OK_UPDATE)
        elog(ERROR, "could not give a cached answer its standard key");
}

}  // namespace

bool begin_quietly() {
    if (!OidIsValid(pg::lock_own_table("steadytext_cache")) ||
        !OidIsValid(pg::lock_own_table("steadytext_daemon_health", "_steadytext")))
        return false;
    if (SPI_execute("SELECT _steadytext.cache_quietly(true)", false, 0) != SPI_OK_SELECT)
        elog(ERROR, "the keeper could not begin its work");
    return true;
}

bool write_records(const shmem::CacheWrites &writes, const TakenWrites &taken) {
    if (!pg::lock_cache_for_writing(pg::own_table("steadytext_cache")))
        return false;
    const shmem::Segment &segment = shmem::segment();
    // The lock is held, so no clearing is in progress
    const std::uint64_t epoch = segment.cache_epochs->of(MyDatabaseId);
    Answers answers(TakenWrites::kMost);
    Hits hits;
    HitsOfRoles hits_of_roles;
    for (std::uint32_t i = 0; i < taken.count; i++) {
        const std::uint32_t index = taken.indexes[i];
        char *bytes = static_cast<char *>(palloc_extended(writes.size(index), MCXT_ALLOC_HUGE));
        CacheRecord record;
        if (writes.epoch(index) != epoch || !writes.copy_out(index, bytes) ||
            !core::decode({bytes, writes.size(index)}, record))
            continue;
        if (!fits_encoding(record)) {
            segment.counters->add(0, shmem::Counter::CacheWritesDropped);
            continue;
        }
        switch (record.numbers.kind) {
        case CacheRecord::Kind::Answer:
            answers.add(record);
            break;
        case CacheRecord::Kind::Hit:
            if (record.numbers.role == 0)
                hits.add(record.numbers.key, record.numbers.hits, record.numbers.at_us);
            else
                hits_of_roles.add(record.numbers);
            break;
        case CacheRecord::Kind::Rekey:
            rekey(record);
            break;
        }
    }
    answers.write();
    hits.write();
    hits_of_roles.write();
    return true;
}

std::int64_t fold_hits(shmem::HotCache *hot_cache, Oid database) {
    if (hot_cache == nullptr)
        return 0;
    const std::uint32_t index = shmem::segment().databases->find(database);
    Hits hits(index != shmem::DatabaseTable::kNone && is_node((*shmem::segment().databases)[index]));
    std::int64_t rows = 0;
    hot_cache->drain_hits(database, [&](const shmem::KeyHits &each) {
        hits.add(each.key, each.hits, each.last_hit_us);
        rows++;
    });
    hits.write();
    return rows;
}

void write_health() {
    if (SPI_execute(kForgetDaemons, false, 0) != SPI_OK_DELETE || SPI_execute(kWriteHealth, false, 0) != SPI_OK_INSERT)
        elog(ERROR, "could not write what is known of the daemons");
}

bool delete_old() {
    const bool more_usage = delete_page("steadytext_usage", kDeleteOldUsage, guc::usage_retention_s);
    const bool more_audit = delete_page("steadytext_audit_log", kDeleteOldAudit, guc::audit_retention_s);
    return more_usage || more_audit;
}

void evict_and_tidy() {
    if (SPI_execute("SELECT _steadytext.cache_scheduled_eviction()", false, 0) != SPI_OK_SELECT ||
        SPI_execute(kCompactLedger, false, 0) != SPI_OK_INSERT)
        elog(ERROR, "could not evict cached answers");
}

}  // namespace steadytext::worker
