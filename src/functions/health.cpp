// _steadytext.health(): the state of each part of the server, as shared memory tells it. Regime: pg, with C++ only
// inside guarded().
//
// It never waits: it answers at once, whatever is down, stopped or locked. steadytext_health_check() itself adds the
// parts that must be read from tables (sql/monitoring.sql), and takes no lock that it would have to wait for.
#include "src/pg/compat.hpp"
#include "src/core/clock.hpp"
#include "src/core/json_text.hpp"
#include "src/guc.hpp"
#include "src/pg/written.hpp"
#include "src/pg/result_row.hpp"
#include "shmem/segment.hpp"
#include "src/session/answer_cache.hpp"
#include "src/session/keeper_call.hpp"

extern "C" {
#include "access/xact.h"
#include "access/xlog.h"
#include "utils/jsonb.h"
}

#include <algorithm>
#include <ctime>
#include <string>

namespace {

using namespace steadytext;
using core::BreakerState;
using core::JsonObject;
using shmem::DaemonState;

enum class Status { Healthy, Degraded, Unhealthy };
constexpr const char *kStatusNames[] = {"healthy", "degraded", "unhealthy"};

constexpr std::int64_t kGatewayLateUs = 1'000'000;   // the gateway loops ten times a second
constexpr std::int64_t kLauncherLateUs = 5'000'000;  // the launcher loops once a second
constexpr std::int64_t kWaitingLongUs = 5'000'000;
constexpr std::int64_t kHubAwayUs = 60'000'000;
constexpr double kCrowded = 0.8;

template <class Body>
void put(ReturnSetInfo *result, const char *component, Status status, Body &&details) {
    const std::string_view json = pg::written_json(core::Escape::Utf8, details);
    pg::put_row(result, {pg::words(component), pg::words(kStatusNames[static_cast<int>(status)]),
                         DirectFunctionCall1(jsonb_in, CStringGetDatum(pg::shown_cstring(json)))});
}

// The time in a form that PostgreSQL reads; empty for 0.
std::string iso_time(std::int64_t unix_us) {
    if (unix_us == 0)
        return {};
    const std::time_t seconds = unix_us / 1'000'000;
    std::tm parts;
    gmtime_r(&seconds, &parts);
    char text[40];
    const std::size_t length = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
    std::snprintf(text + length, sizeof text - length, ".%06dZ", static_cast<int>(unix_us % 1'000'000));
    return text;
}

Status worker_status(const shmem::WorkerState &worker, std::int64_t late_us, std::int64_t now_us) {
    if (worker.pid.load() == 0)
        return Status::Unhealthy;
    const std::int64_t silent_us = now_us - worker.beat_us.load();
    return silent_us < late_us ? Status::Healthy : silent_us < 3 * late_us ? Status::Degraded : Status::Unhealthy;
}

// `reason`: set if max_worker_processes leaves no place for the worker.
void put_worker(ReturnSetInfo *result, const char *component, const shmem::WorkerState &worker, Status status,
                std::string_view reason, std::int64_t now_us) {
    put(result, component, status, [&](JsonObject &details) {
        details.add("pid", std::int64_t{worker.pid.load()});
        details.add("silent_ms", (now_us - worker.beat_us.load()) / 1000);
        details.add("starts", static_cast<std::int64_t>(worker.starts.load()));
        if (reason.empty())
            return;
        details.add("reason", reason);
        details.add("hint", std::string_view("Raise max_worker_processes and restart the server."));
    });
}

std::string_view without_place(bool is_registered) {
    return is_registered ? std::string_view{} : "no background worker was free for it when the server started";
}

// The launcher starts the other workers.
void put_launcher(ReturnSetInfo *result, const shmem::Header &header, std::int64_t now_us) {
    const Status status = worker_status(header.launcher, kLauncherLateUs, now_us);
    if (status != Status::Healthy || header.no_worker_since_us.load() == 0)
        return put_worker(result, "launcher", header.launcher, status, without_place(header.launcher_registered),
                          now_us);
    put_worker(result, "launcher", header.launcher, Status::Degraded,
               "no background worker is free for keepers, queue workers or callbacks", now_us);
}

// `is_partial`: it puts off calls, or fails at some kind of them.
Status daemon_status(DaemonState state, BreakerState breaker, bool is_partial) {
    if (state == DaemonState::Ready && breaker == BreakerState::Closed)
        return is_partial ? Status::Degraded : Status::Healthy;
    if (state == DaemonState::Draining || state == DaemonState::Loading ||
        (state == DaemonState::Ready && breaker == BreakerState::HalfOpen))
        return Status::Degraded;
    return Status::Unhealthy;
}

void put_daemon(ReturnSetInfo *result, const shmem::DaemonRow &row, const shmem::DaemonIdentity &identity, bool watched,
                std::int64_t now_us) {
    const DaemonState state = row.state.load();
    const BreakerState breaker = row.breaker.state(guc::breaker_settings(), now_us);
    const std::int64_t began_unix_us = pg::unix_us_of(GetCurrentTransactionStartTimestamp());  // now() in SQL
    const std::int64_t until_us =
        breaker == BreakerState::Open ? row.breaker.open_until_us() : row.busy_until_us.load();
    put(result, "daemon",
        watched ? daemon_status(state, breaker, until_us > now_us || row.holds_some_off(now_us)) : Status::Unhealthy,
        [&](JsonObject &details) {
            details.add("endpoint", std::string_view(identity.endpoint));
            details.add("state", std::string_view(shmem::name_of(state)));
            details.add_or_null("last_heartbeat", iso_time(std::min(row.last_answer_unix_us.load(), began_unix_us)));
            details.add("breaker", std::string_view(core::name_of(breaker)));
            details.add_or_null("reason",
                                watched ? identity.reason : "the gateway does not run: this is what it saw last");
            details.add_or_null("until",
                                until_us > now_us ? iso_time(core::unix_us() + until_us - now_us) : std::string());
            details.add("in_flight", std::int64_t{row.in_flight.load()});
            details.add("embedded", std::string_view(identity.embedded ? "yes" : "no"));
            details.add_or_null("version", identity.version);
        });
}

void put_daemons(ReturnSetInfo *result, bool watched, std::int64_t now_us) {
    bool any = false;
    for (const shmem::DaemonRow &row : shmem::segment().daemons->rows) {
        shmem::DaemonIdentity identity;
        if (row.state.load() == DaemonState::Absent || !row.identity.load(identity))
            continue;
        any = true;
        put_daemon(result, row, identity, watched, now_us);
    }
    if (!any)
        put(result, "daemon", Status::Unhealthy, [](JsonObject &details) {
            details.add_or_null("endpoint", "");
            details.add_or_null("last_heartbeat", "");
            details.add_or_null("breaker", "");
            details.add("reason", std::string_view(
                                      "no daemon is configured: set steadytext.daemons or steadytext.embedded_model"));
        });
}

void put_models(ReturnSetInfo *result) {
    constexpr int kMaxShown = 64;  // a proxy has a thousand
    auto *models = static_cast<shmem::Model *>(palloc(shmem::ModelTable::kMost * sizeof(shmem::Model)));
    const std::uint32_t count = shmem::segment().daemons->models.load(models);
    std::int64_t served = 0;
    for (std::uint32_t i = 0; i < count; i++)
        served += models[i].served;
    put(result, "model", served > 0 ? Status::Healthy : Status::Degraded, [&](JsonObject &details) {
        details.add("served", served);
        details.add("remembered", std::int64_t{count} - served);
        int shown = 0;
        for (std::uint32_t i = 0; i < count; i++)
            if (models[i].served && shown++ < kMaxShown)
                details.add(models[i].name, std::string_view(models[i].fingerprint));
    });
}

// The keeper of this database comes when there is work and goes when there is none.
void put_keeper(ReturnSetInfo *result, std::int64_t now_us) {
    const shmem::DatabaseRow *mine = session::my_database();
    if (mine == nullptr) {
        put(result, "keeper", Status::Degraded, [](JsonObject &details) {
            details.add("reason", std::string_view("more databases use the extension than shared memory has rows for"));
            details.add("hint",
                        std::string_view("Raise steadytext.max_databases and restart the server, or drop databases."));
        });
        return;
    }
    const shmem::DatabaseRow &row = *mine;
    const std::uint32_t failures = row.keeper_failures.load();
    put(result, "keeper",
        !guc::keeper    ? Status::Degraded
        : failures == 0 ? Status::Healthy
        : failures < 5  ? Status::Degraded
                        : Status::Unhealthy,
        [&](JsonObject &details) {
            details.add("pid", std::int64_t{row.keeper_pid.load()});
            if (!guc::keeper)
                details.add("reason", std::string_view("steadytext.keeper is off"));
            details.add("failures_in_a_row", std::int64_t{failures});
            details.add("pending_writes", std::int64_t{row.pending_writes.load()});
            details.add("audit_rows_pending", std::int64_t{row.pending_audit.load()});
            details.add("audit_rows_missing", static_cast<std::int64_t>(row.audit_missing_total.load()));
            details.add("refreshed_seconds_ago", (now_us - row.refreshed_us.load()) / 1'000'000);
        });
}

// Requests under way, and this database's asynchronous calls with their worker, which leaves when there are no calls.
void put_queue(ReturnSetInfo *result, std::int64_t now_us) {
    const shmem::Segment &segment = shmem::segment();
    const std::uint32_t slots = segment.slots->size(), in_use = segment.slots->in_use();
    const std::int64_t oldest_us = segment.header->waiting.oldest_us.load();
    const std::int64_t waits_us = oldest_us == 0 ? 0 : now_us - oldest_us;
    const shmem::DatabaseRow *jobs = session::my_database();
    const bool worker_fails = jobs != nullptr && jobs->queue_failures.load() > 0;
    const Status status = in_use == slots                                                          ? Status::Unhealthy
                          : in_use > kCrowded * slots || waits_us > kWaitingLongUs || worker_fails ? Status::Degraded
                                                                                                   : Status::Healthy;
    put(result, "queue", status, [&](JsonObject &details) {
        details.add("slots", std::int64_t{slots});
        details.add("slots_in_use", std::int64_t{in_use});
        details.add("waiting", std::int64_t{segment.header->waiting.count.load()});
        details.add("oldest_waiting_ms", waits_us / 1000);
        if (jobs == nullptr)
            return;
        const std::int64_t oldest_job_us = jobs->queue_oldest_us.load();
        details.add("jobs", jobs->queue_places.length.load());
        details.add("oldest_job_seconds", oldest_job_us == 0 ? 0 : (core::unix_us() - oldest_job_us) / 1'000'000);
        details.add("worker_pid", std::int64_t{jobs->queue_pid.load()});
        details.add("worker_failures_in_a_row", std::int64_t{jobs->queue_failures.load()});
    });
}

void put_limits(ReturnSetInfo *result) {
    shmem::RateLimiter &limiter = *shmem::segment().limiter;
    const std::uint32_t meters = limiter.size(), in_use = limiter.in_use();
    put(result, "limits", in_use > kCrowded * meters ? Status::Degraded : Status::Healthy, [&](JsonObject &details) {
        details.add("meters", std::int64_t{meters});
        details.add("meters_in_use", std::int64_t{in_use});
        details.add("shadow_mode", std::string_view(guc::limit_shadow_mode ? "yes" : "no"));
    });
}

void put_shared_memory(ReturnSetInfo *result) {
    const shmem::Segment &segment = shmem::segment();
    const double payload = static_cast<double>(segment.payloads->chunks_in_use()) / segment.payloads->chunk_count();
    put(result, "shared_memory", payload > kCrowded ? Status::Degraded : Status::Healthy, [&](JsonObject &details) {
        details.add("payload_in_use", payload);
        if (segment.hot_cache != nullptr) {
            const shmem::HotCacheStats hot = segment.hot_cache->stats_without_hits();
            details.add("hot_cache_entries", static_cast<std::int64_t>(hot.entries));
            details.add("hot_cache_in_use", static_cast<double>(hot.bytes_used) / static_cast<double>(hot.bytes_total));
        }
        details.add("statistics_deallocated", static_cast<std::int64_t>(segment.statements->deallocations()));
    });
}

void put_standby(ReturnSetInfo *result) {
    const bool standby = RecoveryInProgress();
    put(result, "standby", Status::Healthy, [&](JsonObject &details) {
        details.add("role", std::string_view(standby ? "standby" : "primary"));
        details.add("writes_cache", std::string_view(standby ? "no" : "yes"));
    });
}

// A standby's way to its hub, for this database: the records wait meanwhile, and calls go on.
void put_hub(ReturnSetInfo *result, std::int64_t now_us) {
    const shmem::DatabaseRow *row = session::my_database();
    const bool is_used = session::is_for_hub() && row != nullptr;
    const std::int64_t away_since_us = is_used ? row->hub_away_since_us.load() : 0;
    const std::int64_t away_us = away_since_us == 0 ? 0 : now_us - away_since_us;
    put(result, "hub", away_us > kHubAwayUs ? Status::Degraded : Status::Healthy, [&](JsonObject &details) {
        details.add("configured", std::string_view(guc::has_hub() ? "yes" : "no"));
        if (!is_used) {
            details.add("reason", std::string_view(guc::has_hub() ? "it is this server, or has not answered yet"
                                                                  : "steadytext.hub_conninfo is empty"));
            return;
        }
        details.add("connected", std::string_view(row->hub_connected.load() ? "yes" : "no"));
        details.add("away_seconds", away_us / 1'000'000);
        details.add("pending_writes", std::int64_t{row->pending_writes.load()});
    });
}

}  // namespace

STEADYTEXT_FUNCTION(steadytext_health) {
    const shmem::Segment &segment = shmem::segment();
    const shmem::Header &header = *segment.header;
    ReturnSetInfo *result = pg::materialize(fcinfo);
    const std::int64_t now_us = core::monotonic_us();
    const Status gateway = worker_status(header.gateway, kGatewayLateUs, now_us);
    put_daemons(result, gateway != Status::Unhealthy, now_us);
    put_worker(result, "gateway", header.gateway, gateway, without_place(header.gateway_registered), now_us);
    put_launcher(result, header, now_us);
    put_keeper(result, now_us);
    put_queue(result, now_us);
    put_limits(result);
    put_shared_memory(result);
    put_models(result);
    put_standby(result);
    put_hub(result, now_us);
    return static_cast<Datum>(0);
}
