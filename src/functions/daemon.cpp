// steadytext_daemon_start(), _stop(), _status(): the daemons as one session sees and steers them. Regime: pg.
//
// Status comes from shared memory, which the gateway keeps; start and stop set what is wanted and wake the launcher.
#include "src/pg/compat.hpp"
#include "src/core/clock.hpp"
#include "src/guc.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/time.hpp"
#include "src/session/settings.hpp"
#include "shmem/segment.hpp"

extern "C" {
#include "access/xact.h"
}

#include <algorithm>

namespace {

using namespace steadytext;
using shmem::DaemonState;
using Wanted = shmem::EmbeddedState::Wanted;

constexpr std::int64_t kLeastPatienceUs = 10'000'000;
constexpr long kLookAgainMs = 20;

void wake_launcher() { pg::set_latch_of(shmem::segment().header->launcher.proc_number.load()); }

// Waits, interruptibly, until `reached` says so; false if it did not in the time a request may take, or ten seconds.
bool wait_until(bool (*reached)()) {
    const std::int64_t patience_us = std::max(kLeastPatienceUs, std::int64_t{guc::request_timeout_ms} * 1000);
    const std::int64_t deadline_us = core::monotonic_us() + patience_us;
    const uint32 waiting = pg::wait_event("SteadytextDaemon");
    while (!reached()) {
        if (core::monotonic_us() >= deadline_us)
            return false;
        (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, kLookAgainMs, waiting);
        ResetLatch(MyLatch);
        CHECK_FOR_INTERRUPTS();
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
    case DaemonState::Connecting:
        return identity.embedded && embedded.pid.load() != 0 ? "starting" : "unhealthy";
    case DaemonState::Invalid:
    case DaemonState::Absent:
        break;
    }
    return "unhealthy";
}

// A daemon that answers and has its models loaded; the embedded one, where there is one.
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

bool embedded_is_gone() {
    return shmem::segment().header->embedded.pid.load() == 0;
}

// When the daemon last gave a sign of life, never later than this transaction's now(). Null if it never did.
Datum heartbeat(const shmem::DaemonRow &row, bool &is_null) {
    const std::int64_t unix_us = row.last_answer_unix_us.load();
    is_null = unix_us == 0;
    return TimestampTzGetDatum(std::min(pg::timestamp_of(unix_us), GetCurrentTransactionStartTimestamp()));
}

void put_daemon(ReturnSetInfo *result, const char *id, const char *status, const char *endpoint,
                const shmem::DaemonRow *row) {
    Datum values[5];
    bool nulls[5] = {};
    values[0] = CStringGetTextDatum(id);
    values[1] = CStringGetTextDatum(status);
    values[2] = CStringGetTextDatum(endpoint);
    nulls[3] = row == nullptr;
    values[3] = row == nullptr ? static_cast<Datum>(0) : heartbeat(*row, nulls[3]);
    const std::int64_t since_us = row == nullptr ? 0 : row->ready_since_us.load();
    values[4] = Int32GetDatum(since_us == 0 ? 0 : static_cast<int32>((core::monotonic_us() - since_us) / 1'000'000));
    tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

}  // namespace

STEADYTEXT_FUNCTION(steadytext_daemon_status) {
    const shmem::DaemonTable &daemons = *shmem::segment().daemons;
    ReturnSetInfo *result = pg::materialize(fcinfo);
    // The embedded daemon listens on a socket file; people know the first daemon by its configured address.
    const session::Settings settings = session::settings();
    const char *address = psprintf("tcp://%s:%d", settings.daemon_host, settings.daemon_port);
    bool first = true;
    for (const shmem::DaemonRow &row : daemons.rows) {
        shmem::DaemonIdentity identity;
        if (row.state.load() == DaemonState::Absent || !row.identity.load(identity))
            continue;
        const char *endpoint = identity.embedded ? address : identity.endpoint;
        put_daemon(result, first ? "default" : identity.endpoint, status_text(row, identity), endpoint, &row);
        first = false;
    }
    if (first)
        put_daemon(result, "default", "unhealthy", address, nullptr);
    return static_cast<Datum>(0);
}

STEADYTEXT_FUNCTION(steadytext_daemon_start) {
    const shmem::Segment &segment = shmem::segment();
    segment.header->embedded.wanted.store(Wanted::BySetting);
    wake_launcher();
    if (wait_until(is_serving))
        PG_RETURN_BOOL(true);
    core::Problem problem;
    (void)segment.header->embedded.last_problem.load(problem);
    const bool told = problem.is_set();
    ereport(WARNING,
            (errmsg("failed to start daemon: %s", told                                        ? problem.message
                                                  : segment.header->embedded.pid.load() != 0 ? "it is still loading its models"
                                                                                             : "no daemon is configured or answers"),
             told && problem.detail[0] != '\0' ? errdetail("%s", problem.detail) : 0,
             errhint("Look at steadytext.embedded_daemon, steadytext.embedded_model and steadytext.daemons, and at the "
                     "server log.")));
    PG_RETURN_BOOL(false);
}

STEADYTEXT_FUNCTION(steadytext_daemon_stop) {
    shmem::segment().header->embedded.wanted.store(Wanted::Stopped);
    wake_launcher();
    if (wait_until(embedded_is_gone))
        PG_RETURN_BOOL(true);
    ereport(WARNING, (errmsg("the embedded daemon did not stop in time")));
    PG_RETURN_BOOL(false);
}
