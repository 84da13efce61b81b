// Takes, adds and gives back usage: see keeper_usage.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "bgworker/keeper_usage.hpp"
#include "bgworker/batch_columns.hpp"
#include "src/pg/cache_lock.hpp"

extern "C" {
#include "catalog/pg_type.h"
#include "storage/ipc.h"
#include "utils/date.h"
#include "utils/memutils.h"
}

#include <iterator>

namespace steadytext::worker {

namespace {

constexpr std::uint32_t kBatch = 1000;

// Roles by name, so that usage stays visible after a role is dropped; a role that was dropped before has its OID in
// place of the name. Counts stop at half of what a bigint holds, so that a row changed by hand cannot stop counting by
// an overflow. A role has rows of a hundred models a day: calls of further models are in the row without a model, so that
// names without end, as a node or a daemon may report them, do not fill the disk.
constexpr const char *kAdd = R"(
    WITH named AS (
        SELECT n.day, coalesce(r.rolname, n.role::text) AS role_name, coalesce(n.model, '') AS model, sum(n.calls) AS calls,
               sum(n.hits) AS hits, sum(n.failures) AS failures, sum(n.limited) AS limited, sum(n.prompt_tokens) AS prompt_tokens,
               sum(n.completion_tokens) AS completion_tokens, sum(n.saved_tokens) AS saved_tokens
        FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
                 AS n (day, role, model, calls, hits, failures, limited, prompt_tokens, completion_tokens, saved_tokens)
        LEFT JOIN pg_catalog.pg_roles r ON r.oid = n.role
        GROUP BY 1, 2, 3),
    days AS (
        SELECT d.day, d.role_name, (SELECT count(*) FROM public.steadytext_usage u
                                    WHERE u.day = d.day AND u.role_name = d.role_name AND u.database_name = current_database()) AS models
        FROM (SELECT DISTINCT day, role_name FROM named) d),
    known AS (
        SELECT n.*, EXISTS (SELECT FROM public.steadytext_usage u WHERE u.day = n.day AND u.role_name = n.role_name
                            AND u.database_name = current_database() AND u.model = n.model) AS is_known
        FROM named n),
    placed AS (
        SELECT k.*, k.is_known OR d.models + row_number() OVER (PARTITION BY k.day, k.role_name, k.is_known ORDER BY k.model) <= 100
                    AS has_row
        FROM known k JOIN days d ON d.day = k.day AND d.role_name = k.role_name)
    INSERT INTO public.steadytext_usage AS u (day, role_name, database_name, model, calls, hits, failures, limited,
                                              prompt_tokens, completion_tokens, saved_tokens)
    SELECT p.day, p.role_name, current_database(), CASE WHEN p.has_row THEN p.model ELSE '' END, sum(p.calls), sum(p.hits),
           sum(p.failures), sum(p.limited), sum(p.prompt_tokens), sum(p.completion_tokens), sum(p.saved_tokens)
    FROM placed p
    GROUP BY 1, 2, 4
    ON CONFLICT (day, role_name, database_name, model) DO UPDATE SET
        calls = excluded.calls + least(u.calls, 4611686018427387903), hits = excluded.hits + least(u.hits, 4611686018427387903),
        failures = excluded.failures + least(u.failures, 4611686018427387903), limited = excluded.limited + least(u.limited, 4611686018427387903),
        prompt_tokens = excluded.prompt_tokens + least(u.prompt_tokens, 4611686018427387903),
        completion_tokens = excluded.completion_tokens + least(u.completion_tokens, 4611686018427387903),
        saved_tokens = excluded.saved_tokens + least(u.saved_tokens, 4611686018427387903))";

struct Taken {
    shmem::DatabaseRow *row;
    shmem::Usage::Entry *entries;
    std::uint32_t count;
};
Taken taken;

void give_back(std::uint32_t from = 0) {
    for (std::uint32_t i = from; i < taken.count; i++) {
        const shmem::Usage::Entry &entry = taken.entries[i];
        if (!shmem::segment().usage->add(entry.key, entry.counts))
            shmem::segment().counters->add(0, shmem::Counter::UsageDropped, entry.counts.calls);
        taken.row->note_usage();
    }
    taken.count = 0;
}

void give_back_at_exit(int, Datum) { give_back(); }

}  // namespace

void begin_usage() {
    taken.entries =
        static_cast<shmem::Usage::Entry *>(MemoryContextAlloc(TopMemoryContext, sizeof(shmem::Usage::Entry) * kBatch));
    before_shmem_exit(give_back_at_exit, static_cast<Datum>(0));
}

bool take_usage(shmem::DatabaseRow &row) {
    taken.row = &row;
    row.usage_since_us.store(0);  // before the look: later usage sets it again
    taken.count = shmem::segment().usage->take(row.oid.load(), taken.entries, kBatch);
    return taken.count > 0;
}

void write_usage() {
    if (!pg::lock_own_table_for_writing("steadytext_usage"))
        return;  // the extension is not here, or no longer here
    const Oid types[] = {DATEOID, OIDOID, TEXTOID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID};
    ArrayColumn columns[std::size(types)];
    for (std::size_t i = 0; i < std::size(types); i++)
        columns[i].begin(types[i], kBatch);
    for (std::uint32_t i = 0; i < taken.count; i++) {
        const auto &[key, counts] = taken.entries[i];
        columns[0].add(DateADTGetDatum(key.day - (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE)));
        columns[1].add(ObjectIdGetDatum(key.role));
        columns[2].add_text(key.model);
        const std::uint64_t numbers[] = {counts.calls,       counts.hits,          counts.failures,
                                         counts.limited,     counts.prompt_tokens, counts.completion_tokens,
                                         counts.saved_tokens};
        for (std::size_t n = 0; n < std::size(numbers); n++)
            columns[3 + n].add(Int64GetDatum(static_cast<std::int64_t>(numbers[n])));
    }
    execute(kAdd, columns, SPI_OK_INSERT);
}

std::span<const shmem::Usage::Entry> taken_usage() { return {taken.entries, taken.count}; }

void settle_usage(std::uint32_t written) { give_back(written); }

}  // namespace steadytext::worker
