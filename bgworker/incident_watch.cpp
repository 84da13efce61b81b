// Looks, opens, closes and responds: see incident_watch.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "bgworker/incident_watch.hpp"
#include "src/core/clock.hpp"
#include "src/guc.hpp"

extern "C" {
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/snapmgr.h"
}

#include <algorithm>

namespace steadytext::worker {

namespace {

using core::ConditionId;
using core::Vitals;
using shmem::DaemonState;
using shmem::IncidentEvent;
using shmem::Incidents;
using shmem::Segment;

constexpr std::int64_t kLookUs = 500'000;
constexpr std::size_t kLooks = 64;
constexpr std::int64_t kSlowUs = 10'000'000;
constexpr std::uint32_t kStretch = 4;
constexpr std::int32_t kShedBelow = 5;  // jobs with a lower priority are held back; the default priority is not

// Past looks, spread evenly over the window.
struct History {
    Vitals looks[kLooks];
    std::size_t count = 0;  // ever taken
};
History *history;

std::size_t index_of(ConditionId id) { return static_cast<std::size_t>(id); }

// ---- a look --------------------------------------------------------------------------------------------------------

// A daemon that still loads its models is starting, not down.
bool is_loading(const Segment &segment, const shmem::DaemonRow &row, const shmem::DaemonIdentity &identity) {
    const shmem::EmbeddedState &embedded = segment.header->embedded;
    const std::int64_t started_unix_us = core::unix_us() - core::monotonic_us() + embedded.started_us.load();
    return identity.embedded && embedded.pid.load() != 0 && row.last_answer_unix_us.load() < started_unix_us;
}

bool is_down(const Segment &segment, const shmem::DaemonRow &row) {
    const DaemonState state = row.state.load();
    shmem::DaemonIdentity identity;
    if (state == DaemonState::Absent || state == DaemonState::Draining || state == DaemonState::Loading ||
        !row.identity.load(identity))
        return false;
    const bool is_stopped =
        identity.embedded && segment.header->embedded.wanted.load() == shmem::EmbeddedState::Wanted::Stopped;
    return state != DaemonState::Ready && !is_stopped && !is_loading(segment, row, identity);
}

void look_at_calls(const shmem::CallTotals &totals, Vitals &vitals) {
    for (const auto &kind : totals.kinds) {
        vitals.requests += kind.requests();
        vitals.failed += kind.failed();
        vitals.limited += kind.outcomes[static_cast<std::size_t>(shmem::CallOutcome::Limited)];
        const auto &buckets = kind.response_times[0].buckets;
        for (std::size_t i = 0; i < buckets.size(); i++) {
            vitals.uncached += buckets[i];
            if (i > 0 && shmem::kTimeBounds[i - 1] >= kSlowUs)
                vitals.slow += buckets[i];
        }
    }
    for (const std::uint64_t hits : totals.hits)
        vitals.hits += hits;
}

void look(const Segment &segment, std::int64_t now_us, Vitals &vitals) {
    vitals = Vitals{};
    vitals.at_us = now_us;
    look_at_calls(segment.calls->totals(), vitals);
    vitals.failed -= std::min(vitals.failed, segment.counters->sum(shmem::Counter::OwnTimeouts));
    static_assert(Vitals::kRoles == shmem::RoleCalls::kPlaces);
    for (std::size_t i = 0; i < Vitals::kRoles; i++) {
        const shmem::RoleCalls::Place &place = segment.role_calls->places[i];
        vitals.roles[i] = {place.asked.load(), place.failed.load(), place.role.load()};
    }
    if (segment.hot_cache != nullptr)
        vitals.evictions = segment.hot_cache->stats_without_hits().evictions;
    const std::int64_t oldest_us = segment.header->waiting.oldest_us.load();
    vitals.oldest_waiting_s = oldest_us == 0 ? 0 : static_cast<double>(now_us - oldest_us) / 1e6;
    vitals.memory_in_use =
        std::max(static_cast<double>(segment.slots->in_use()) / segment.slots->size(),
                 static_cast<double>(segment.payloads->chunks_in_use()) / segment.payloads->chunk_count());
    for (std::size_t i = 0; i < shmem::kMaxDaemons; i++) {
        const shmem::DaemonRow &row = segment.daemons->rows[i];
        const std::uint64_t tenure = row.tenure.load(std::memory_order_acquire);
        vitals.daemons[i] = {is_down(segment, row), row.breaker.times_opened(), tenure};
    }
}

// The oldest look within the window; keeps the new look if it is time for another.
const Vitals &oldest_in_window(const Vitals &now) {
    const std::int64_t window_us = std::int64_t{guc::incident_window_ms} * 1000;
    const std::int64_t apart_us = window_us / static_cast<std::int64_t>(kLooks - 1);
    if (history->count == 0 || now.at_us - history->looks[(history->count - 1) % kLooks].at_us >= apart_us)
        history->looks[history->count++ % kLooks] = now;
    std::size_t first = history->count > kLooks ? history->count - kLooks : 0;
    while (first + 1 < history->count && history->looks[first % kLooks].at_us < now.at_us - window_us)
        first++;
    return history->looks[first % kLooks];
}

// ---- responses -----------------------------------------------------------------------------------------------------

bool is_open(const Incidents &incidents, ConditionId id) { return incidents.open[index_of(id)].load() > 0; }

bool another_is_ready(const shmem::DaemonTable &daemons, const shmem::DaemonRow &row) {
    return std::any_of(std::begin(daemons.rows), std::end(daemons.rows), [&](const shmem::DaemonRow &other) {
        return &other != &row && other.state.load() == DaemonState::Ready && !other.rests();
    });
}

bool may_rest(const Segment &segment, std::size_t daemon) {
    return guc::incident_drain && another_is_ready(*segment.daemons, segment.daemons->rows[daemon]);
}

bool is_hung(const Segment &segment, std::size_t daemon) {
    shmem::DaemonIdentity identity;
    return segment.daemons->rows[daemon].identity.load(identity) && identity.embedded &&
           segment.header->embedded.pid.load() != 0;
}

bool sheds(ConditionId id) {
    return guc::incident_shed &&
           (id == ConditionId::DaemonDown || id == ConditionId::ErrorRate || id == ConditionId::QueueStuck);
}

Incidents::Track &error_rate(const Segment &segment) {
    return segment.incidents->tracks[index_of(ConditionId::ErrorRate)][0];
}

// Failures of a role that calls alone are its own affair: jobs of others go on.
bool is_of_a_role(const Segment &segment, ConditionId id) {
    return id == ConditionId::ErrorRate && error_rate(segment).subject[0] != '\0';
}

// Responds at once when an incident opens; returns the response in words, or null.
const char *respond(const Segment &segment, ConditionId id, std::size_t daemon) {
    switch (id) {
    case ConditionId::DaemonDown:
        if (!guc::incident_restart || !is_hung(segment, daemon))
            return nullptr;
        segment.header->embedded.restart_wanted.store(true);
        return "embedded daemon restarted";
    case ConditionId::BreakerFlapping:
        return may_rest(segment, daemon) ? "daemon rests" : nullptr;
    case ConditionId::Latency:
    case ConditionId::QueueStuck:
        return guc::incident_widen_refresh ? "refresh interval widened" : nullptr;
    default:
        return nullptr;
    }
}

// Jobs that were held back are looked at again, by the queue worker of the database, or by a worker that the launcher
// starts.
void begin_jobs_from(const Segment &segment, std::int32_t priority) {
    if (segment.header->least_priority.exchange(priority) <= priority)
        return;
    for (shmem::DatabaseRow &row : *segment.databases) {
        if (row.oid.load() == 0)
            continue;
        row.queue_changes.fetch_add(1, std::memory_order_release);
        pg::set_latch_of(row.queue_proc_number.load());
    }
}

bool any_sheds(const Segment &segment) {
    const Incidents &incidents = *segment.incidents;
    for (std::size_t i = 0; i < core::kConditionCount; i++)
        if (const auto id = static_cast<ConditionId>(i);
            sheds(id) && is_open(incidents, id) && !is_of_a_role(segment, id))
            return true;
    return false;
}

// Responses that last as long as incidents do.
void keep_up_responses(const Segment &segment) {
    const Incidents &incidents = *segment.incidents;
    for (std::size_t i = 0; i < shmem::kMaxDaemons; i++) {
        shmem::DaemonRow &row = segment.daemons->rows[i];
        const Incidents::Track &track = incidents.tracks[index_of(ConditionId::BreakerFlapping)][i];
        row.resting_tenure.store(track.state.open && may_rest(segment, i) ? track.tenure : 0);
    }
    const bool slow = is_open(incidents, ConditionId::Latency) || is_open(incidents, ConditionId::QueueStuck);
    segment.header->refresh_stretch.store(slow && guc::incident_widen_refresh ? kStretch : 1);
    begin_jobs_from(segment, any_sheds(segment) ? kShedBelow : 1);
}

// ---- opening and closing -------------------------------------------------------------------------------------------

void announce(const core::Condition &condition, const IncidentEvent &event) {
    const bool opened = event.what == IncidentEvent::What::Opened;
    ereport(LOG, (errmsg("pg_steadytext incident %s: %s%s%s", opened ? "opened" : "closed", condition.name,
                         event.subject[0] == '\0' ? "" : " of ", event.subject),
                  opened ? errdetail("%s: %g.", condition.says, event.value) : 0,
                  event.response[0] != '\0' ? errcontext("response: %s", event.response) : 0));
}

void put_response(const Segment &segment, ConditionId id, std::size_t daemon, IncidentEvent &event) {
    const char *done = respond(segment, id, daemon);
    const bool jobs_wait = sheds(id) && !is_of_a_role(segment, id);
    snprintf(event.response, sizeof event.response, "%s%s%s", done != nullptr ? done : "",
             done != nullptr && jobs_wait ? ", " : "", jobs_wait ? "low-priority jobs wait" : "");
}

void turn(const Segment &segment, ConditionId id, std::size_t daemon, core::IncidentTurn turned, double value) {
    Incidents &incidents = *segment.incidents;
    Incidents::Track &track = incidents.tracks[index_of(id)][daemon];
    const bool opened = turned == core::IncidentTurn::Opens;
    IncidentEvent event;
    event.what = opened ? IncidentEvent::What::Opened : IncidentEvent::What::Closed;
    event.condition = id;
    event.at_unix_us = core::unix_us();
    event.value = value;
    strlcpy(event.subject, track.subject, sizeof event.subject);
    if (opened)
        put_response(segment, id, daemon, event);
    if (opened) {
        incidents.open[index_of(id)].fetch_add(1);
        incidents.opened[index_of(id)].fetch_add(1);
    } else {
        incidents.open[index_of(id)].fetch_sub(1);
    }
    incidents.post(event);
    announce(core::condition(id), event);
}

// Follows the daemon in the row: if the row has another daemon now, the incident of the earlier daemon is over at once.
void follow_daemon(const Segment &segment, ConditionId id, std::size_t daemon) {
    Incidents::Track &track = segment.incidents->tracks[index_of(id)][daemon];
    const shmem::DaemonRow &row = segment.daemons->rows[daemon];
    const std::uint64_t tenure = row.tenure.load(std::memory_order_acquire);
    shmem::DaemonIdentity identity;
    if (track.tenure == tenure || (tenure != 0 && !row.identity.load(identity)))
        return;
    if (track.state.open)
        turn(segment, id, daemon, core::IncidentTurn::Closes, 0);
    track.state = {};
    track.tenure = tenure;
    strlcpy(track.subject, identity.endpoint, sizeof track.subject);
}

// The role's name, or its number while pg_authid is locked.
void put_role(Oid role, char (&subject)[sizeof(Incidents::Track::subject)]) {
    StartTransactionCommand();
    (void)GetTransactionSnapshot();
    const char *name =
        ConditionalLockRelationOid(AuthIdRelationId, AccessShareLock) ? GetUserNameFromId(role, true) : nullptr;
    if (name != nullptr)
        snprintf(subject, sizeof subject, "role %s", name);
    else
        snprintf(subject, sizeof subject, "role %u", role);
    CommitTransactionCommand();
}

// Whose incident error_rate is, if it opens: of the role that calls alone, or of the server. One of a role is over when
// others fail too.
void follow_role(const Segment &segment, const Vitals &then, const Vitals &now, double value, bool opens) {
    Incidents::Track &track = error_rate(segment);
    const Oid role = core::lone_role(then, now);
    if (opens) {
        track.subject[0] = '\0';
        if (role != 0)
            put_role(role, track.subject);
    } else if (track.state.open && track.subject[0] != '\0' && role == 0 &&
               value >= core::condition(ConditionId::ErrorRate).opens_at) {
        turn(segment, ConditionId::ErrorRate, 0, core::IncidentTurn::Closes, value);
        track.state = {};
    }
}

void judge(const Segment &segment, ConditionId id, std::size_t daemon, const Vitals &then, const Vitals &now) {
    const core::Condition &condition = core::condition(id);
    const double value = condition.measure(then, now, daemon);
    core::IncidentState &state = segment.incidents->tracks[index_of(id)][daemon].state;
    const core::IncidentTurn turned =
        core::step(state, condition, value, now.at_us, std::int64_t{guc::incident_delay_ms} * 1000);
    if (id == ConditionId::ErrorRate)
        follow_role(segment, then, now, value, turned == core::IncidentTurn::Opens);
    if (turned != core::IncidentTurn::None)
        turn(segment, id, daemon, turned, value);
}

// By now, an incident that lasts from the earlier life has had the time to open anew.
void settle(const Segment &segment, std::int64_t now_us) {
    static std::int64_t began_us = now_us;
    const std::int64_t patience_us =
        (std::int64_t{guc::incident_window_ms} + 2 * std::int64_t{guc::incident_delay_ms}) * 1000;
    if (now_us - began_us < patience_us || segment.header->incidents_settled.exchange(true))
        return;
    IncidentEvent event;
    event.what = IncidentEvent::What::Settled;
    event.at_unix_us = core::unix_us();
    segment.incidents->post(event);
}

}  // namespace

void watch_incidents(const Segment &segment, std::int64_t now_us) {
    static std::int64_t looked_us = 0;
    if (now_us - looked_us < kLookUs)
        return;
    looked_us = now_us;
    if (history == nullptr)
        history = static_cast<History *>(MemoryContextAllocZero(TopMemoryContext, sizeof(History)));
    static Vitals now;
    look(segment, now_us, now);
    const Vitals &then = oldest_in_window(now);
    for (std::size_t i = 0; i < core::kConditionCount; i++) {
        const auto id = static_cast<ConditionId>(i);
        const std::size_t subjects = core::condition(id).per_daemon ? shmem::kMaxDaemons : 1;
        for (std::size_t daemon = 0; daemon < subjects; daemon++) {
            if (core::condition(id).per_daemon)
                follow_daemon(segment, id, daemon);
            judge(segment, id, daemon, then, now);
        }
    }
    keep_up_responses(segment);
    settle(segment, now_us);
}

}  // namespace steadytext::worker
