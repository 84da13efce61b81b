// _steadytext.audit_change(): a trigger that writes changes of settings and limits into steadytext_audit_log. Regime:
// pg.
//
// Called after each statement on steadytext_config, steadytext_rate_limits, _rules, steadytext_budgets and _prices,
// whether it comes from a function of the extension, from an administrator by hand, or from COPY. It writes rows as the owner of
// the log, because the caller may be unable to write them, and in the name of the caller. It writes nothing for an
// UPDATE that changes no audited column.
#include "src/pg/compat.hpp"
#include "src/pg/as_owner.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/own_table.hpp"
#include "src/session/audit.hpp"

extern "C" {
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/rel.h"
}

#include <iterator>

namespace {

using namespace steadytext;

// A statement that changes up to this many rows gets a log row for each. A statement that changes more rows gets a
// single log row with their number.
constexpr int kMaxRows = 100;

struct Audited {
    const char *table;
    const char *set;      // event_type of a row that is there now
    const char *removed;  // of a row that is there no longer
    const char *details;  // of a row r, in SQL
    const char *key;      // the part of it that names a removed row
    const char *at;       // when it was set: the same value set again is a change too
};
constexpr Audited kAudited[] = {
    {"steadytext_config", "config_change", "config_remove",
     "jsonb_build_object('key', r.key, 'value', r.value #>> '{}')", "jsonb_build_object('key', r.key)", "r.updated_at"},
    {"steadytext_rate_limit_rules", "rate_limit_set", "rate_limit_remove",
     "jsonb_build_object('role', r.role_name, 'operation', r.operation, 'requests', r.requests, 'per', r.per, "
     "'tokens', r.tokens, 'concurrency', "
     "r.concurrency)",
     "jsonb_build_object('role', r.role_name, 'operation', r.operation)", "r.updated_at"},
    {"steadytext_rate_limits", "rate_limit_set", "rate_limit_remove",
     "jsonb_build_object('role', r.user_id, 'operation', '*', 'requests_per_minute', r.requests_per_minute, "
     "'requests_per_hour', "
     "r.requests_per_hour, 'requests_per_day', r.requests_per_day)",
     "jsonb_build_object('role', r.user_id, 'operation', '*')", "NULL"},
    {"steadytext_budgets", "budget_set", "budget_remove",
     "jsonb_build_object('role', r.role_name, 'period', r.period, 'tokens', r.tokens, 'mode', r.mode)",
     "jsonb_build_object('role', r.role_name, 'period', r.period)", "r.updated_at"},
    {"steadytext_prices", "price_set", "price_remove",
     "jsonb_build_object('model', r.model, 'per_million_prompt', r.per_million_prompt, 'per_million_completion', "
     "r.per_million_completion)",
     "jsonb_build_object('model', r.model)", "r.updated_at"},
};

const Audited &audited(const TriggerData &trigger) {
    const char *name = RelationGetRelationName(trigger.tg_relation);
    for (const Audited &each : kAudited)
        if (strcmp(each.table, name) == 0 && pg::own_table(name) == RelationGetRelid(trigger.tg_relation))
            return each;
    ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("changes of table \"%s\" are not audited", name)));
}

// A query with a single column, the details of each change. An UPDATE that changes the key removes the old row.
const char *changes(const TriggerData &trigger, const Audited &table, bool removed) {
    const TriggerEvent event = trigger.tg_event;
    if (TRIGGER_FIRED_BY_TRUNCATE(event))
        return removed ? psprintf("SELECT jsonb_build_object('table', '%s', 'truncated', true)", table.table) : nullptr;
    if (TRIGGER_FIRED_BY_INSERT(event))
        return removed ? nullptr : psprintf("SELECT %s FROM new_rows r", table.details);
    if (TRIGGER_FIRED_BY_DELETE(event))
        return removed ? psprintf("SELECT %s FROM old_rows r", table.key) : nullptr;
    if (removed)
        return psprintf("SELECT %s FROM old_rows r EXCEPT SELECT %s FROM new_rows r", table.key, table.key);
    return psprintf(
        "SELECT c.details FROM (SELECT %s, %s FROM new_rows r EXCEPT SELECT %s, %s FROM old_rows r) c (details, at)",
        table.details, table.at, table.details, table.at);
}

void write(const char *event, const char *changes, const Audited &table, const char *user, const char *address) {
    const char *statement =
        psprintf("WITH changes (details) AS MATERIALIZED (%s), many AS (SELECT count(*) AS n FROM changes)"
                 " INSERT INTO public.steadytext_audit_log (event_type, user_id, ip_address, details)"
                 " SELECT $1, $2, nullif($3, '')::inet, d.details FROM ("
                 "  SELECT details FROM changes WHERE (SELECT n FROM many) <= %d"
                 "  UNION ALL SELECT jsonb_build_object('table', '%s', 'rows', n) FROM many WHERE n > %d) d",
                 changes, kMaxRows, table.table, kMaxRows);
    Oid types[] = {TEXTOID, TEXTOID, TEXTOID};
    Datum values[] = {CStringGetTextDatum(event), CStringGetTextDatum(user), CStringGetTextDatum(address)};
    if (SPI_execute_with_args(statement, std::size(types), types, values, nullptr, false, 0) != SPI_OK_INSERT)
        elog(ERROR, "could not write to steadytext_audit_log");
}

}  // namespace

STEADYTEXT_FUNCTION(steadytext_audit_change) {
    if (!CALLED_AS_TRIGGER(fcinfo))
        ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
                        errmsg("steadytext_audit_change must be called as a trigger")));
    auto *trigger = reinterpret_cast<TriggerData *>(fcinfo->context);
    const Audited &table = audited(*trigger);
    const char *user = GetUserNameFromId(GetUserId(), false);
    char address[64];
    session::write_client_address(address, sizeof address);
    SPI_connect();
    if (SPI_register_trigger_data(trigger) < 0)
        elog(ERROR, "could not register the rows of a statement");
    const pg::Caller caller = pg::begin_as_owner();
    for (const bool removed : {true, false})
        if (const char *query = changes(*trigger, table, removed); query != nullptr)
            write(removed ? table.removed : table.set, query, table, user, address);
    pg::end_as_owner(caller);
    SPI_finish();
    return PointerGetDatum(nullptr);
}
