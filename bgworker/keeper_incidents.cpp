// Calls _steadytext.incident_*() (sql/monitoring.sql) once for each event: see keeper_incidents.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "bgworker/keeper_incidents.hpp"
#include "bgworker/batch_columns.hpp"
#include "src/pg/cache_lock.hpp"
#include "src/pg/shown_text.hpp"

extern "C" {
#include "catalog/pg_type.h"
}

#include <algorithm>
#include <iterator>

namespace steadytext::worker {

namespace {

using shmem::IncidentEvent;
using shmem::Incidents;

void run(const char *statement, int count, Oid *types, Datum *values) {
    if (SPI_execute_with_args(statement, count, types, values, nullptr, false, 0) != SPI_OK_SELECT)
        elog(ERROR, "could not write an incident");
}

bool is_of_a_role(const IncidentEvent &event) {
    return event.condition == core::ConditionId::ErrorRate && event.subject[0] != '\0';
}

void note(const IncidentEvent &event) {
    const core::Condition &condition = core::condition(event.condition);
    Oid types[] = {TEXTOID, TEXTOID, TEXTOID, BOOLOID, TIMESTAMPTZOID, FLOAT8OID, TEXTOID};
    Datum values[] = {CStringGetTextDatum(condition.name),
                      pg::shown_text(event.subject),
                      CStringGetTextDatum(is_of_a_role(event) ? "warning" : condition.severity),
                      BoolGetDatum(event.what == IncidentEvent::What::Opened),
                      TimestampTzGetDatum(pg::timestamp_of(event.at_unix_us)),
                      Float8GetDatum(event.value),
                      pg::shown_text(event.response)};
    run("SELECT _steadytext.incident_note($1, $2, $3, $4, $5, $6, $7)", std::size(types), types, values);
}

// Incidents that are open, as the launcher knows, stay open; an earlier life left the others, so they are closed.
void settle(const IncidentEvent &event) {
    ArrayColumn columns[2];
    for (ArrayColumn &column : columns)
        column.begin(TEXTOID, core::kConditionCount * shmem::kMaxDaemons);
    for (std::size_t i = 0; i < core::kConditionCount; i++)
        for (const Incidents::Track &track : shmem::segment().incidents->tracks[i])
            if (track.state.open) {
                columns[0].add(CStringGetTextDatum(core::kConditions[i].name));
                columns[1].add(pg::shown_text(track.subject));
            }
    Oid types[] = {columns[0].array_type(), columns[1].array_type(), TIMESTAMPTZOID};
    Datum values[] = {columns[0].array(), columns[1].array(), TimestampTzGetDatum(pg::timestamp_of(event.at_unix_us))};
    run("SELECT _steadytext.incidents_settle($1, $2, $3)", std::size(types), types, values);
}

}  // namespace

std::uint64_t write_incidents(const shmem::DatabaseRow &row) {
    const Incidents &incidents = *shmem::segment().incidents;
    const std::uint64_t last = incidents.last();
    if (!pg::lock_own_table_for_writing("steadytext_incidents"))
        return last;
    const std::uint64_t oldest = last > Incidents::kKept ? last - Incidents::kKept + 1 : 1;
    for (std::uint64_t number = std::max(row.incidents_seen.load() + 1, oldest); number <= last; number++) {
        IncidentEvent event;
        if (incidents.read(number, event))
            event.what == IncidentEvent::What::Settled ? settle(event) : note(event);
    }
    return last;
}

}  // namespace steadytext::worker
