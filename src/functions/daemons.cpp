// The view steadytext_daemons, and steadytext_daemon_trip(), _reset(): daemons and their breakers in shared
// memory. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/core/clock.hpp"
#include "src/core/endpoint.hpp"
#include "src/guc.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/shown_text.hpp"
#include "src/pg/time.hpp"
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

// A row of the view, column by column in the view's order.
class Line {
public:
    void text(const char *value) {
        nulls_[column_] = value[0] == '\0';
        values_[column_] = nulls_[column_] ? static_cast<Datum>(0) : pg::shown_text(value);
        column_++;
    }
    void number(std::int64_t value) { values_[column_++] = Int64GetDatum(value); }
    void milliseconds(double us, bool known) {
        nulls_[column_] = !known;
        values_[column_++] = Float8GetDatum(us / 1000);
    }
    void time(std::int64_t unix_us) {
        nulls_[column_] = unix_us == 0;
        values_[column_++] = TimestampTzGetDatum(pg::timestamp_of(unix_us));
    }
    void put(ReturnSetInfo *result) { tuplestore_putvalues(result->setResult, result->setDesc, values_, nulls_); }

private:
    static constexpr int kColumns = 16;
    Datum values_[kColumns] = {};
    bool nulls_[kColumns] = {};
    int column_ = 0;
};

void put_daemon(ReturnSetInfo *result, const shmem::DaemonRow &row, const shmem::DaemonIdentity &identity) {
    const std::int64_t now_us = core::monotonic_us();
    const core::BreakerState breaker = row.breaker.state(guc::breaker_settings(), now_us);
    const std::uint32_t in_flight = row.in_flight.load();
    const std::uint64_t answered = row.answered.load();
    Line line;
    line.text(identity.endpoint);
    line.text(name_of(identity.kind));
    line.number(identity.weight);
    const bool rests = row.rests();
    line.text(shmem::name_of(rests ? DaemonState::Draining : row.state.load()));
    line.text(core::name_of(breaker));
    const bool is_by_hand = breaker == core::BreakerState::Open && identity.reason[0] == '\0';
    line.text(rests        ? "rests: its circuit breaker opened again and again"
              : is_by_hand ? "its circuit breaker was opened by steadytext_daemon_trip()"
                           : identity.reason);
    const std::int64_t until_us =
        breaker == core::BreakerState::Open ? row.breaker.open_until_us() : row.busy_until_us.load();
    line.time(breaker == core::BreakerState::Open || until_us > now_us ? core::unix_us() + until_us - now_us : 0);
    line.number(in_flight);
    line.number(std::min(in_flight, row.connections.load()));
    line.number(static_cast<std::int64_t>(row.requests.load()));
    line.number(static_cast<std::int64_t>(row.failures.load()));
    line.number(static_cast<std::int64_t>(row.late_replies.load()));
    line.milliseconds(answered == 0 ? 0 : static_cast<double>(row.answered_us.load()) / static_cast<double>(answered),
                      answered > 0);
    line.milliseconds(static_cast<double>(row.latencies.percentile_us(0.99)), answered > 0);
    line.time(row.last_ok_unix_us.load());
    line.text(identity.fingerprint);
    line.put(result);
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
