// steadytext_daemon_register(), _unregister(), _set_weight(), _drain(), _undrain(): steadytext.daemons
// changed for good, as by ALTER SYSTEM, one entry at a time. Regime: pg, with C++ only inside guarded().
//
// What is changed is the setting as the configuration files have it now, not this session's copy, which is as
// old as the session's last reload; a lock until the end of the transaction keeps two changes from losing one
// of them.
#include "src/pg/compat.hpp"
#include "src/core/daemon_list.hpp"
#include "src/guc.hpp"
#include "src/pg/alter_system.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/text.hpp"
#include "src/session/arguments.hpp"
#include "src/session/audit.hpp"

extern "C" {
#include "catalog/pg_db_role_setting.h"
#include "executor/spi.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
}

#include <string>

namespace {

using namespace steadytext;

// Of all databases together. Rows of this shared catalog have no OID, so nothing else takes such a lock.
void lock_registry() { LockSharedObject(DbRoleSettingRelationId, InvalidOid, 0, ExclusiveLock); }

// The setting as the files have it, whether or not it can be applied; if no file names it, as this session
// has it.
const char *daemons_in_files() {
    // Under the caller's search_path: nothing in it may be anybody's but PostgreSQL's.
    const char *query = "SELECT setting FROM pg_catalog.pg_file_settings WHERE name OPERATOR(pg_catalog.=) 'steadytext.daemons' "
                        "ORDER BY seqno DESC LIMIT 1";
    MemoryContext caller = CurrentMemoryContext;
    const char *daemons = guc::daemons != nullptr ? guc::daemons : "";
    SPI_connect();
    // Not read-only: a later call in one statement must see what an earlier one did.
    if (SPI_execute(query, false, 1) == SPI_OK_SELECT && SPI_processed == 1) {
        const char *setting = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
        daemons = MemoryContextStrdup(caller, setting != nullptr ? setting : "");
    }
    SPI_finish();
    return daemons;
}

// Lets `change(std::string &list, std::string_view endpoint, core::Problem &) -> bool` change the list, and
// keeps the result.
template <class Change>
void change_registry(Datum endpoint_datum, Change &&change) {
    static std::string *list = new std::string;
    const std::string_view endpoint = pg::utf8_text(endpoint_datum);
    session::require(core::rules::kEntry, endpoint);
    lock_registry();
    const char *daemons = daemons_in_files();
    pg::guarded([&](core::Problem &problem) {
        list->assign(daemons);
        return change(*list, endpoint, problem);
    });
    pg::alter_system("steadytext.daemons", list->c_str());
}

void drain(FunctionCallInfo fcinfo, bool wanted) {
    change_registry(PG_GETARG_DATUM(0),
                    [&](std::string &list, std::string_view endpoint, core::Problem &problem) {
                        return core::drain_daemon(list, endpoint, wanted, problem);
                    });
}

}  // namespace

STEADYTEXT_FUNCTION(steadytext_daemon_register) {
    const int weight = PG_GETARG_INT32(1);
    const std::string_view asked = pg::utf8_text(PG_GETARG_DATUM(0));
    core::Endpoint parsed;
    core::Problem refusal;
    if (!core::parse_endpoint(asked, parsed, refusal))
        session::note_suspicious(core::Suspicion::Endpoint, "endpoint", asked);
    session::require(core::rules::kEndpoint, pg::utf8_text(PG_GETARG_DATUM(0)));
    session::require(core::rules::kWeight, weight);
    bool is_new = false;
    change_registry(PG_GETARG_DATUM(0),
                    [&](std::string &list, std::string_view endpoint, core::Problem &problem) {
                        is_new = !core::has_daemon(list, endpoint);
                        return is_new ? core::add_daemon(list, endpoint, weight, problem)
                                      : core::set_daemon_weight(list, endpoint, weight, problem);
                    });
    PG_RETURN_BOOL(is_new);
}

STEADYTEXT_FUNCTION(steadytext_daemon_unregister) {
    change_registry(PG_GETARG_DATUM(0), core::remove_daemon);
    PG_RETURN_VOID();
}

STEADYTEXT_FUNCTION(steadytext_daemon_set_weight) {
    const int weight = PG_GETARG_INT32(1);
    session::require(core::rules::kWeight, weight);
    change_registry(PG_GETARG_DATUM(0),
                    [&](std::string &list, std::string_view endpoint, core::Problem &problem) {
                        return core::set_daemon_weight(list, endpoint, weight, problem);
                    });
    PG_RETURN_VOID();
}

STEADYTEXT_FUNCTION(steadytext_daemon_drain) {
    drain(fcinfo, true);
    PG_RETURN_VOID();
}

STEADYTEXT_FUNCTION(steadytext_daemon_undrain) {
    drain(fcinfo, false);
    PG_RETURN_VOID();
}
