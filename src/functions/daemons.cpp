// The view steadytext_daemons, and steadytext_daemon_trip(), _reset(): daemons and their breakers in shared
// memory. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/core/clock.hpp"
#include "src/guc.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/result_row.hpp"
#include "src/session/arguments.hpp"
#include "src/session/audit.hpp"
#include "shmem/segment.hpp"
#include "src/session/keeper_call.hpp"

#include <algorithm>

namespace {

using namespace steadytext;
using shmem::DaemonState;

const char *name_of(shmem::DaemonKind kind) {
    switch (kind) {
    case shmem::DaemonKind::Native:
        return "native";
    case shmem::DaemonKind::Serial:
        return "serial";
    case shmem::DaemonKind::Http:
        return "http";
    case shmem::DaemonKind::Unknown:
        break;
    }
    return "unknown";
}

void put_daemon(ReturnSetInfo *result, const shmem::DaemonRow &row, const shmem::DaemonIdentity &identity) {
    const std::int64_t now_us = core::monotonic_us();
    const core::BreakerState breaker = row.breaker.state(guc::breaker_settings(), now_us);
    const std::uint32_t in_flight = row.in_flight.load();
    const std::uint64_t answered = row.answered.load();
    const auto mean_us =
        static_cast<double>(row.answered_us.load()) / static_cast<double>(std::max<std::uint64_t>(answered, 1));
    const bool rests = row.rests();
    const bool is_open = breaker == core::BreakerState::Open;
    const std::int64_t until_us = is_open ? row.breaker.open_until_us() : row.busy_until_us.load();
    const char *reason = rests ? "rests: its circuit breaker opened again and again"
                         : is_open && identity.reason[0] == '\0'
                             ? "its circuit breaker was opened by steadytext_daemon_trip()"
                             : identity.reason;
    pg::put_row(result, {pg::shown(identity.endpoint),
                         pg::shown(name_of(identity.kind)),
                         pg::number(std::int64_t{identity.weight}),
                         pg::shown(shmem::name_of(rests ? DaemonState::Draining : row.state.load())),
                         pg::shown(core::name_of(breaker)),
                         pg::shown(reason),
                         pg::time(is_open || until_us > now_us ? core::unix_us() + until_us - now_us : 0),
                         pg::number(std::int64_t{in_flight}),
                         pg::number(std::int64_t{std::min(in_flight, row.connections.load())}),
                         pg::number(row.requests.load()),
                         pg::number(row.failures.load()),
                         pg::number(row.late_replies.load()),
                         {Float8GetDatum(mean_us / 1000), answered > 0},
                         {Float8GetDatum(static_cast<double>(row.latencies.percentile_us(0.99)) / 1000), answered > 0},
                         pg::time(row.last_ok_unix_us.load()),
                         pg::shown(identity.fingerprint)});
}

shmem::DaemonRow &row_of(Datum endpoint_datum) {
    const std::string_view endpoint = pg::utf8_text(endpoint_datum);
    session::require(core::rules::kEntry, endpoint);
    for (shmem::DaemonRow &row : shmem::segment().daemons->rows) {
        shmem::DaemonIdentity identity;
        if (row.state.load() != DaemonState::Absent && row.identity.load(identity) &&
            (endpoint == identity.endpoint || core::stable_hash(endpoint) == identity.endpoint_hash))
            return row;
    }
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
                    errmsg("there is no daemon \"%s\"", core::PublicEndpoint(TextDatumGetCString(endpoint_datum)).text),
                    errhint("SELECT endpoint FROM steadytext_daemons lists the daemons.")));
}

}  // namespace

STEADYTEXT_FUNCTION(steadytext_daemons) {
    session::want_health();
    ReturnSetInfo *result = pg::materialize(fcinfo);
    for (const shmem::DaemonRow &row : shmem::segment().daemons->rows) {
        shmem::DaemonIdentity identity;
        if (row.state.load() != DaemonState::Absent && row.identity.load(identity))
            put_daemon(result, row, identity);
    }
    return static_cast<Datum>(0);
}

STEADYTEXT_FUNCTION(steadytext_daemon_trip) {
    row_of(PG_GETARG_DATUM(0)).breaker.trip(guc::breaker_settings(), core::monotonic_us());
    session::note_server_action("steadytext_daemon_trip", core::PublicEndpoint(pg::utf8_text(PG_GETARG_DATUM(0))).text);
    PG_RETURN_VOID();
}

STEADYTEXT_FUNCTION(steadytext_daemon_reset) {
    shmem::DaemonRow &row = row_of(PG_GETARG_DATUM(0));
    row.breaker.reset();
    row.kinds.release();
    row.unreadable.forget();
    row.held_off_until_us.store(0);
    row.busy_until_us.store(0);
    row.resets.fetch_add(1);
    session::note_server_action("steadytext_daemon_reset",
                                core::PublicEndpoint(pg::utf8_text(PG_GETARG_DATUM(0))).text);
    PG_RETURN_VOID();
}
