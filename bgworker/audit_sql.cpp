// The INSERT into steadytext_audit_log; it runs once per row, as such rows are few: see
// audit_sql.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "bgworker/audit_sql.hpp"
#include "src/pg/own_table.hpp"
#include "src/pg/time.hpp"

extern "C" {
#include "catalog/pg_type.h"
#include "executor/spi.h"
}

#include <iterator>

namespace steadytext::worker {

namespace {

constexpr const char *kInsert = R"(
    INSERT INTO public.steadytext_audit_log (created_at, user_id, ip_address, event_type, error_message, details, success)
    VALUES ($1, $2, nullif($3, '')::inet, $4, nullif($5, ''), $6::jsonb, $5 = ''))";

constexpr const char *kInsertMissing = R"(
    INSERT INTO public.steadytext_audit_log (event_type, error_message, details, success)
    VALUES ('audit_dropped', 'rows are missing here', jsonb_build_object('rows', $1), false))";

void insert(const shmem::AuditRecord &record) {
    Oid types[] = {TIMESTAMPTZOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID};
    Datum values[] = {TimestampTzGetDatum(pg::timestamp_of(record.at_us)),
                      CStringGetTextDatum(record.user),
                      CStringGetTextDatum(record.address),
                      CStringGetTextDatum(record.event_type),
                      CStringGetTextDatum(record.message),
                      CStringGetTextDatum(record.details)};
    if (SPI_execute_with_args(kInsert, std::size(types), types, values, nullptr, false, 0) != SPI_OK_INSERT)
        elog(ERROR, "could not write to steadytext_audit_log");
}

}  // namespace

void write_audit(const shmem::AuditRing &ring, std::span<const std::uint32_t> indexes) {
    if (!OidIsValid(pg::lock_own_table("steadytext_audit_log")))
        return;
    for (const std::uint32_t index : indexes)
        insert(ring[index]);
}

void write_audit_missing(std::uint32_t count) {
    if (!OidIsValid(pg::lock_own_table("steadytext_audit_log")))
        return;
    Oid types[] = {INT8OID};
    Datum values[] = {Int64GetDatum(count)};
    if (SPI_execute_with_args(kInsertMissing, std::size(types), types, values, nullptr, false, 0) != SPI_OK_INSERT)
        elog(ERROR, "could not write to steadytext_audit_log");
}

}  // namespace steadytext::worker
