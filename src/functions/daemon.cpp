// steadytext_daemon_start(), _stop(), _status(): the daemons as a session sees and steers them; and the rows that the
// keeper writes into the table steadytext_daemon_health. Regime: pg.
//
// Status comes from shared memory, which the gateway keeps. Start and stop set the wanted state and wake the launcher.
#include "src/pg/compat.hpp"
#include "src/core/clock.hpp"
#include "src/core/endpoint.hpp"
#include "src/guc.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/result_row.hpp"
#include "src/pg/wait.hpp"
#include "src/session/audit.hpp"
#include "shmem/segment.hpp"
#include "src/session/embedded_daemon.hpp"
#include "src/session/keeper_call.hpp"

extern "C" {
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
}

#include <algorithm>
#include <climits>

namespace {

using namespace steadytext;
using session::embedded_is_configured;
using session::wake_launcher;
using shmem::DaemonState;
using Wanted = shmem::EmbeddedState::Wanted;

constexpr std::int64_t kLeastPatienceUs = 10'000'000;
constexpr std::int64_t kLookAgainUs = 20'000;

// Waits, interruptibly, until `reached` is true. False if that takes longer than a request may take, and longer than
// ten seconds.
template <class Reached>
bool await(Reached reached) {
    const std::int64_t patience_us = std::max(kLeastPatienceUs, std::int64_t{guc::request_timeout_ms} * 1000);
    const std::int64_t deadline_us = core::monotonic_us() + patience_us;
    static pg::WaitEvent waiting("SteadytextDaemon");
    while (!reached()) {
        const std::int64_t now_us = core::monotonic_us();
        if (now_us >= deadline_us)
            return false;
        (void)pg::wait_until(now_us + kLookAgainUs, waiting);
    }
    return true;
}

const char *status_text(const shmem::DaemonRow &row, const shmem::DaemonIdentity &identity) {
    const shmem::EmbeddedState &embedded = shmem::segment().header->embedded;
    switch (row.state.load()) {
    case DaemonState::Ready:
        return "healthy";
    case DaemonState::Draining:
        return "stopping";
    case DaemonState::Loading:
        return "starting";
    case DaemonState::Connecting:
        return identity.embedded && embedded.pid.load() != 0 ? "starting" : "unhealthy";
    case DaemonState::Invalid:
    case DaemonState::Absent:
        break;
    }
    return "unhealthy";
}

// Whether the embedded daemon answers and has its models loaded. Without an embedded daemon: whether any daemon does.
bool is_serving() {
    const shmem::DaemonTable &daemons = *shmem::segment().daemons;
    bool embedded_exists = false, embedded_ready = false, other_ready = false;
    for (const shmem::DaemonRow &row : daemons.rows) {
        shmem::DaemonIdentity identity;
        if (row.state.load() == DaemonState::Absent || !row.identity.load(identity))
            continue;
        const bool ready = row.state.load() == DaemonState::Ready && identity.models_loaded;
        embedded_exists |= identity.embedded;
        (identity.embedded ? embedded_ready : other_ready) |= ready;
    }
    return embedded_exists ? embedded_ready : other_ready;
}

// The server can start and stop only the embedded daemon.
void warn_if_none_is_embedded(const char *what) {
    if (!embedded_is_configured())
        ereport(WARNING, (errmsg("there is no embedded daemon to %s", what),
                          guc::embedded_daemon ? errdetail("No model is named for it.")
                                               : errdetail("steadytext.embedded_daemon is off."),
                          errhint("To stop giving requests to another daemon: steadytext_daemon_drain().")));
}

bool embedded_is_gone() { return shmem::segment().header->embedded.pid.load() == 0; }

// When the daemon last gave a sign of life, but never later than this transaction's now(). Null if it never did.
Datum heartbeat(const shmem::DaemonRow &row, bool &is_null) {
    const std::int64_t unix_us = row.last_answer_unix_us.load();
    is_null = unix_us == 0;
    return TimestampTzGetDatum(std::min(pg::timestamp_of(unix_us), GetCurrentTransactionStartTimestamp()));
}

// A daemon as both functions report it. Without a row, no daemon is known; then only the address of a future embedded
// daemon can be told.
struct Report {
    const char *id;
    const char *endpoint;  // null: there is none
    const shmem::DaemonRow *row;
    const shmem::DaemonIdentity *identity;

    [[nodiscard]] Datum status() const {
        const bool starts = row == nullptr && endpoint != nullptr && shmem::segment().header->embedded.pid.load() != 0;
        return CStringGetTextDatum(starts ? "starting" : row == nullptr ? "unhealthy" : status_text(*row, *identity));
    }
    [[nodiscard]] const char *endpoint_text() const { return endpoint == nullptr ? "" : endpoint; }
    [[nodiscard]] Datum heartbeat(bool &is_null) const {
        is_null = row == nullptr;
        return is_null ? static_cast<Datum>(0) : ::heartbeat(*row, is_null);
    }
    [[nodiscard]] Datum uptime() const {
        const std::int64_t since_us = row == nullptr ? 0 : row->ready_since_us.load();
        return Int32GetDatum(since_us == 0 ? 0 : static_cast<int32>((core::monotonic_us() - since_us) / 1'000'000));
    }
};

// If no daemon is known, the original's row is there all the same, because clients look for a status there.
void report_daemons(FunctionCallInfo fcinfo, void (*put)(ReturnSetInfo *, const Report &)) {
    ReturnSetInfo *result = pg::materialize(fcinfo);
    bool first = true;
    for (const shmem::DaemonRow &row : shmem::segment().daemons->rows) {
        shmem::DaemonIdentity identity;
        if (row.state.load() == DaemonState::Absent || !row.identity.load(identity))
            continue;
        put(result, {first ? "default" : identity.endpoint, identity.endpoint, &row, &identity});
        first = false;
    }
    if (first)
        put(result, {"default", embedded_is_configured() ? core::kEmbeddedEndpoint : nullptr, nullptr, nullptr});
}

void put_status(ReturnSetInfo *result, const Report &report) {
    bool has_no_heartbeat = false;
    const Datum heartbeat = report.heartbeat(has_no_heartbeat);
    pg::put_row(result, {pg::shown_text(report.id),
                         report.status(),
                         {pg::shown_text(report.endpoint_text()), report.endpoint != nullptr},
                         {heartbeat, !has_no_heartbeat},
                         report.uptime()});
}

// The names of models that the daemon told, as a text[]; null if it told none.
Datum model_names(const char *lines, bool &is_null) {
    constexpr int kMost = sizeof shmem::DaemonIdentity::models / 2;  // a letter and its line's end
    Datum names[kMost];
    int count = 0;
    for (const char *end; count < kMost && (end = strchr(lines, '\n')) != nullptr; lines = end + 1)
        if (end > lines)
            names[count++] = pg::shown_text({lines, static_cast<std::size_t>(end - lines)});
    is_null = count == 0;
    return is_null ? static_cast<Datum>(0)
                   : PointerGetDatum(construct_array(names, count, TEXTOID, -1, false, TYPALIGN_INT));
}

void put_health(ReturnSetInfo *result, const Report &report) {
    static const shmem::DaemonRow nobody;
    const shmem::DaemonRow &row = report.row != nullptr ? *report.row : nobody;
    const std::uint64_t answered = row.answered.load();
    const std::uint64_t resident_mb = row.resident_bytes.load() >> 20;  // most daemons do not tell
    bool has_no_heartbeat = false, has_no_models = false;
    const Datum heartbeat = report.heartbeat(has_no_heartbeat);
    const Datum models = model_names(report.identity == nullptr ? "" : report.identity->models, has_no_models);
    const auto count = [](std::uint64_t value) {
        return Int32GetDatum(static_cast<int32>(std::min<std::uint64_t>(value, INT_MAX)));
    };
    pg::put_row(result,
                {pg::shown_text(report.id),
                 pg::shown_text(report.endpoint_text()),  // the original's is not null
                 {heartbeat, !has_no_heartbeat},
                 report.uptime(),
                 report.status(),
                 pg::shown(report.identity == nullptr ? "" : report.identity->version),
                 {models, !has_no_models},
                 {count(resident_mb), resident_mb != 0},
                 Int32GetDatum(static_cast<int32>(row.connections.load())),
                 pg::number(row.requests.load()),
                 count(row.failures.load()),
                 {Int32GetDatum(answered == 0 ? 0 : static_cast<int32>(row.answered_us.load() / answered / 1000)),
                  answered != 0}});
}

}  // namespace

STEADYTEXT_FUNCTION(steadytext_daemon_status) {
    session::want_health();
    report_daemons(fcinfo, put_status);
    return static_cast<Datum>(0);
}

STEADYTEXT_FUNCTION(steadytext_daemon_health) {
    report_daemons(fcinfo, put_health);
    return static_cast<Datum>(0);
}

STEADYTEXT_FUNCTION(steadytext_daemon_start) {
    shmem::EmbeddedState &embedded = shmem::segment().header->embedded;
    const std::uint32_t starts = embedded.starts.load();
    if (embedded.pid.load() == 0)
        embedded.restart_wanted.store(
            true);  // without the pause after a failure; before it is wanted, so at that start
    embedded.wanted.store(Wanted::BySetting);
    wake_launcher();
    session::note_server_action("steadytext_daemon_start", {});
    // When it is begun a second time, the first one has failed, and so will those that follow.
    (void)await([&] { return is_serving() || embedded.starts.load() - starts > 1; });
    if (is_serving()) {
        warn_if_none_is_embedded("start");
        PG_RETURN_BOOL(true);
    }
    core::Problem problem;
    (void)embedded.last_problem.load(problem);
    const bool told = problem.is_set();
    ereport(WARNING,
            (errmsg("failed to start daemon: %s", told                       ? problem.message
                                                  : embedded.pid.load() != 0 ? "it is still loading its models"
                                                                             : "no daemon is configured or answers"),
             told && problem.detail[0] != '\0' ? errdetail("%s", problem.detail) : 0,
             errhint("Look at steadytext.embedded_daemon, steadytext.embedded_model and steadytext.daemons, and at the "
                     "server log.")));
    PG_RETURN_BOOL(false);
}

STEADYTEXT_FUNCTION(steadytext_daemon_stop) {
    shmem::segment().header->embedded.wanted.store(Wanted::Stopped);
    wake_launcher();
    session::note_server_action("steadytext_daemon_stop", {});
    warn_if_none_is_embedded("stop");
    if (await(embedded_is_gone))
        PG_RETURN_BOOL(true);
    ereport(WARNING, (errmsg("the embedded daemon did not stop in time")));
    PG_RETURN_BOOL(false);
}
