// Takes roles in turn, reserves places and starts workers: see callbacks.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/queue/callbacks.hpp"
#include "bgworker/start_limiter.hpp"
#include "bgworker/step.hpp"
#include "shmem/segment.hpp"
#include "src/core/clock.hpp"
#include "src/guc.hpp"
#include "src/queue/callback_sql.hpp"

extern "C" {
#include "catalog/pg_authid.h"
#include "utils/acl.h"
#include "utils/syscache.h"
}

#include <algorithm>

namespace steadytext::queue {

namespace {

using shmem::CallbackWorkers;

constexpr std::int64_t kLookUs = 1'000'000;  // a worker's end sets the latch, so this is only for ends that were missed
constexpr std::int64_t kLookAfterFailureUs = 10'000'000;
constexpr int kMostRoles = 16;               // in a single transaction

bool any = true;  // true until the first look: an earlier worker may have left callbacks
std::int64_t look_us = 0;
Oid last_role;  // the role whose worker was started last, or that was looked at last: the next look starts after it

// Roles that need a worker, as the transaction found them.
struct Wanted {
    Oid role;
    std::int64_t first_due;
};
Wanted wanted[kMostRoles];
int wanted_count = 0;

// The starts of workers, by role. If there are too many roles, the most recently used stay.
struct RoleStarts {
    Oid role;
    std::int64_t first_due;  // id of the first due callback when the role's worker was started
    std::int64_t used_us;
    worker::StartLimiter limiter;
};
RoleStarts starts[64];

CallbackWorkers &workers() { return shmem::segment().header->callback_workers; }

// A database may set less than the server, but not more, as all databases share the places.
int deadline_ms() { return std::min(guc::request_timeout_ms, shmem::segment().header->callback_deadline_ms.load(std::memory_order_relaxed)); }

// Why the role's callbacks cannot run; null: they can run.
const char *refusal(Oid role) {
    HeapTuple tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));
    if (!HeapTupleIsValid(tuple))
        return psprintf("42704: role with OID %u does not exist", role);
    const auto *form = reinterpret_cast<Form_pg_authid>(GETSTRUCT(tuple));
    const char *name = pstrdup(NameStr(form->rolname));
    const bool may_log_in = form->rolcanlogin;
    ReleaseSysCache(tuple);
    if (!may_log_in && !pg::kWorkersNeedNoLogin)
        return psprintf("28000: role \"%s\" may not log in, which a callback needs before PostgreSQL 17", name);
    if (!pg::may_connect(role))
        return psprintf("42501: role \"%s\" may not connect to this database", name);
    return nullptr;
}

void look_after_role(Oid role) {
    if (const char *reason = refusal(role); reason != nullptr)
        return refuse_callbacks(role, reason);
    if (const std::uint32_t place = workers().find(MyDatabaseId, role, core::monotonic_us()); place != CallbackWorkers::kNone)
        return pg::set_latch_of(workers().proc_number(place));
    settle_callbacks(role, deadline_ms());
    const std::int64_t first_due = first_due_callback(role);
    if (first_due == 0)
        return;
    Wanted &next = wanted[wanted_count++];
    next.role = role;
    next.first_due = first_due;
}

// Visits each role once, beginning after the last role.
void look() {
    Oid at = last_role;
    bool wrapped = !OidIsValid(last_role);
    wanted_count = 0;
    any = false;
    for (int i = 0; i < kMostRoles;) {
        const Oid role = next_callback_role(at);
        if (!OidIsValid(role)) {
            if (wrapped)
                return;
            wrapped = true;
            at = InvalidOid;
            continue;
        }
        if (wrapped && OidIsValid(last_role) && role > last_role)
            return;
        any = true;
        at = role;
        look_after_role(role);
        i++;
    }
    last_role = at;
}

RoleStarts &starts_of(const Wanted &next, std::int64_t now_us) {
    RoleStarts *found = &starts[0];
    for (RoleStarts &each : starts) {
        if (each.role == next.role) {
            found = &each;
            break;
        }
        if (each.used_us < found->used_us)
            found = &each;
    }
    // A worker that finished a callback did not fail at starting.
    if (found->role != next.role || (found->first_due != next.first_due && !found->limiter.is_under_way(now_us)))
        found->limiter.reset();
    found->role = next.role;
    found->used_us = now_us;
    return *found;
}

void begin_worker(const Wanted &next, std::int64_t now_us) {
    const std::uint32_t place = workers().reserve(MyDatabaseId, next.role, now_us);
    if (place == CallbackWorkers::kNone)
        return;
    const worker::WorkerOrder order{.database = MyDatabaseId, .role = next.role, .place = place, .deadline_ms = deadline_ms()};
    RoleStarts &role = starts_of(next, now_us);
    if (!role.limiter.begin("callback worker", "steadytext_callback_main", order, now_us, look_us))
        return workers().give_up(place);
    role.first_due = next.first_due;
    last_role = next.role;
}

}  // namespace

void note_callback_due() {
    any = true;
    look_us = 0;
}

bool has_callbacks() { return any; }

std::int64_t callbacks_due_us() { return any ? look_us : INT64_MAX; }

void look_after_callbacks(std::int64_t now_us) {
    look_us = now_us + kLookUs;
    if (!worker::run_step("looking after callbacks", look)) {
        any = true;
        look_us = now_us + kLookAfterFailureUs;
        return;
    }
    for (int i = 0; i < wanted_count; i++)
        begin_worker(wanted[i], now_us);
}

}  // namespace steadytext::queue
