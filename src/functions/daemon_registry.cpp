// steadytext_daemon_register(), _unregister(), _set_weight(), _drain(), _undrain(), and steadytext_config_set() of
// daemon_host and daemon_port. They change steadytext.daemons for good, as ALTER SYSTEM does, an entry at a time.
// Regime: pg, with C++ only inside guarded().
//
// They change the setting as the configuration files have it now, not this session's copy, which is as old as the
// session's last reload. A lock until the end of the transaction keeps two concurrent changes from losing a change.
#include "src/pg/compat.hpp"
#include "src/core/daemon_list.hpp"
#include "src/core/endpoint.hpp"
#include "src/core/parameters.hpp"
#include "src/guc.hpp"
#include "src/pg/alter_system.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/text.hpp"
#include "src/session/arguments.hpp"
#include "src/session/audit.hpp"
#include "shmem/segment.hpp"

extern "C" {
#include "catalog/pg_db_role_setting.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
}

#include <string>

namespace {

using namespace steadytext;

// A lock for all databases together. Rows of this shared catalog have no OID, so nothing else takes such a lock.
void lock_registry() { LockSharedObject(DbRoleSettingRelationId, InvalidOid, 0, ExclusiveLock); }

// The setting as the files have it, whether or not it can be applied; if no file names it, as this session
// has it.
const char *daemons_in_files() {
    // The caller's search_path is in force: every name in the query must be bound to PostgreSQL's own.
    const char *query =
        "SELECT setting FROM pg_catalog.pg_file_settings WHERE name OPERATOR(pg_catalog.=) 'steadytext.daemons' "
        "ORDER BY seqno DESC LIMIT 1";
    MemoryContext caller = CurrentMemoryContext;
    const char *daemons = guc::daemons != nullptr ? guc::daemons : "";
    SPI_connect();
    // Not read-only: a later call in the same statement must see the change of an earlier call.
    if (SPI_execute(query, false, 1) == SPI_OK_SELECT && SPI_processed == 1) {
        const char *setting = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
        daemons = MemoryContextStrdup(caller, setting != nullptr ? setting : "");
    }
    SPI_finish();
    return daemons;
}

// Lets `change(std::string &list, core::Problem &) -> bool` change the list, and keeps the result; `function` and
// `argument` are audited.
template <class Change>
void change_list(const char *function, std::string_view argument, Change &&change) {
    static std::string *list = new std::string;
    if (!superuser())
        ereport(ERROR,
                (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("must be superuser to change steadytext.daemons")));
    lock_registry();
    const char *daemons = daemons_in_files();
    pg::guarded([&](core::Problem &problem) {
        list->assign(daemons);
        return change(*list, problem);
    });
    pg::alter_system("steadytext.daemons", list->c_str());
    session::note_server_action(function, core::PublicEndpoint(argument).text);
}

// The hash of the daemon with this public name; 0 if no running daemon has the name.
std::uint64_t hash_of_daemon(std::string_view name) {
    for (const shmem::DaemonRow &row : shmem::segment().daemons->rows) {
        shmem::DaemonIdentity identity;
        if (row.is_taken() && row.identity.load(identity) && name == identity.endpoint)
            return identity.endpoint_hash;
    }
    return 0;
}

// The same for the entry of an endpoint: `change(std::string &list, std::string_view endpoint, core::Problem &) ->
// bool`.
template <class Change>
void change_registry(const char *function, Datum endpoint_datum, Change &&change) {
    const std::string_view endpoint = pg::copy_text(pg::utf8_text(endpoint_datum));
    session::require(core::rules::kEntry, endpoint);
    const std::uint64_t hash = hash_of_daemon(endpoint);
    change_list(function, endpoint, [&](std::string &list, core::Problem &problem) {
        const std::string own =
            hash == 0 || core::has_daemon(list, endpoint) ? std::string() : core::daemon_of_hash(list, hash);
        return change(list, own.empty() ? endpoint : std::string_view(own), problem);
    });
}

void drain(const char *function, FunctionCallInfo fcinfo, bool wanted) {
    change_registry(function, PG_GETARG_DATUM(0),
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
        session::note_suspicious(core::Suspicion::Endpoint, "endpoint", core::PublicEndpoint(asked).text);
    session::require(core::rules::kEndpoint, pg::utf8_text(PG_GETARG_DATUM(0)));
    session::require(core::rules::kWeight, weight);
    bool is_new = false;
    change_registry("steadytext_daemon_register", PG_GETARG_DATUM(0),
                    [&](std::string &list, std::string_view endpoint, core::Problem &problem) {
                        is_new = !core::has_daemon(list, endpoint);
                        return is_new ? core::add_daemon(list, endpoint, weight, problem)
                                      : core::set_daemon_weight(list, endpoint, weight, problem);
                    });
    PG_RETURN_BOOL(is_new);
}

STEADYTEXT_FUNCTION(steadytext_daemon_unregister) {
    change_registry("steadytext_daemon_unregister", PG_GETARG_DATUM(0), core::remove_daemon);
    PG_RETURN_VOID();
}

STEADYTEXT_FUNCTION(steadytext_daemon_set_weight) {
    const int weight = PG_GETARG_INT32(1);
    session::require(core::rules::kWeight, weight);
    change_registry("steadytext_daemon_set_weight", PG_GETARG_DATUM(0),
                    [&](std::string &list, std::string_view endpoint, core::Problem &problem) {
                        return core::set_daemon_weight(list, endpoint, weight, problem);
                    });
    PG_RETURN_VOID();
}

STEADYTEXT_FUNCTION(steadytext_daemon_drain) {
    drain("steadytext_daemon_drain", fcinfo, true);
    PG_RETURN_VOID();
}

STEADYTEXT_FUNCTION(steadytext_daemon_undrain) {
    drain("steadytext_daemon_undrain", fcinfo, false);
    PG_RETURN_VOID();
}

// The table belongs to a single database, the daemons to the server. So only the value that a superuser has just set
// gets into the list. The other half of the address comes from the daemon that is there, not from the table, which
// administrators may write.
STEADYTEXT_FUNCTION(steadytext_follow_daemon_address) {
    const std::string_view key = pg::copy_text(pg::utf8_text(PG_GETARG_DATUM(0)));
    const std::string_view value = pg::copy_text(pg::utf8_text(PG_GETARG_DATUM(1)));
    core::AddressParts parts;
    if (key == "daemon_host")
        parts.host = value;
    else if (key == "daemon_port")
        parts.port = strtol(value.data(), nullptr, 10);
    else
        ereport(ERROR,
                (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("no part of an address is called \"%s\"", key.data())));
    pg::guarded([&](core::Problem &problem) { return core::check_config(key, value, problem); });
    core::Problem refusal;
    if (key == "daemon_host" && !core::check_host(value, refusal))
        session::note_suspicious(core::Suspicion::Endpoint, "daemon_host", value);
    static char first[sizeof(core::PublicEndpoint::text)];
    change_list(key == "daemon_host" ? "steadytext_config_set(daemon_host)" : "steadytext_config_set(daemon_port)",
                value, [&](std::string &list, core::Problem &problem) {
                    const bool good = core::set_first_daemon(list, parts, problem);
                    const std::string endpoint = list.substr(0, list.find_first_of(", \t\r\n"));
                    snprintf(first, sizeof first, "%s", core::PublicEndpoint(endpoint.c_str()).text);
                    return good;
                });
    ereport(NOTICE, (errmsg("steadytext.daemons has changed, for all databases of the server"),
                     errdetail("Its first daemon is now %s.", first)));
    PG_RETURN_VOID();
}
