// Takes roles in turn, and asks the launcher for their workers: see callbacks.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/queue/callbacks.hpp"
#include "bgworker/worker_transaction.hpp"
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
#include <csignal>
#include <iterator>

namespace steadytext::queue {

namespace {

using shmem::CallbackWorkers;

constexpr std::int64_t kLookUs = 1'000'000;  // a worker's end sets the latch, so this is only for ends that were missed
constexpr std::int64_t kLookAfterFailureUs = 10'000'000;
constexpr int kMaxRoles = 16;  // in a single transaction

bool any = true;  // true until the first look: an earlier worker may have left callbacks
std::int64_t look_us = 0;
Oid last_role;  // the role whose worker was started last, or that was looked at last: the next look starts after it

using CallbackWish = shmem::WorkerPlaces::Left::CallbackWish;

// Roles that need a worker, as the transaction found them: of each login a single role, and none while another of its
// roles has a worker. So SET ROLE gives nobody another place.
struct Wanted {
    Oid role;
    Oid login;
    std::int64_t first_due;
};
Wanted wanted[kMaxRoles];
int wanted_count = 0, asked_count = 0;
Wanted asked[shmem::WorkerPlaces::Left::kMaxCallbackWishes];  // the role for which the launcher was asked, by the
                                                              // wish's index; InvalidOid: none, or that is settled
shmem::WorkerPlaces::Left *left;

// The starts of workers, by role. If there are too many roles, the most recently used stay. A role whose worker ended
// without having done its first callback waits 100 ms, 200 ms, … 30 s.
struct RoleStarts {
    Oid role;
    std::int64_t first_due;  // id of the first due callback when the role's worker was started; 0: none was started
    std::int64_t used_us;
    std::int64_t pause_us, not_before_us;
};
RoleStarts starts[64];
constexpr std::int64_t kFirstPauseUs = 100'000, kLongestPauseUs = 30'000'000;

CallbackWorkers &workers() { return shmem::segment().header->callback_workers; }

bool is_free(const CallbackWish &wish) { return wish.role.load(std::memory_order_acquire) == InvalidOid; }
bool has_begun_any() {
    for (std::size_t i = 0; i < std::size(asked); i++)
        if (OidIsValid(asked[i].role) && is_free(left->callbacks[i]))
            return true;
    return false;
}

// A database may set less than the server, but not more, as all databases share the places.
int deadline_ms() {
    return std::min(guc::request_timeout_ms,
                    shmem::segment().header->callback_deadline_ms.load(std::memory_order_relaxed));
}

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

// Logins of which a role has a worker.
Oid busy[kMaxRoles];
int busy_count = 0;

bool is_busy(Oid login) {
    return std::find(busy, busy + busy_count, login) != busy + busy_count ||
           std::any_of(std::begin(asked), std::end(asked),
                       [&](const Wanted &each) { return OidIsValid(each.role) && each.login == login; });
}

void look_after_role(Oid role, Oid login) {
    if (const char *reason = refusal(role); reason != nullptr) {
        for (CallbackWish &wish : left->callbacks) {
            std::uint32_t its = role;
            (void)wish.role.compare_exchange_strong(its, InvalidOid);
        }
        return refuse_callbacks(role, reason);
    }
    if (const std::uint32_t place = workers().find(MyDatabaseId, role); place != CallbackWorkers::kNone) {
        busy[busy_count++] = login;
        return pg::set_latch_of(workers().proc_number(place));
    }
    settle_callbacks(role, deadline_ms());
    const std::int64_t first_due = first_due_callback(role);
    if (first_due == 0)
        return;
    const bool is_second =
        std::any_of(wanted, wanted + wanted_count, [&](const Wanted &each) { return each.login == login; });
    if (!is_second)
        wanted[wanted_count++] = {role, login, first_due};
}

// Visits each role once, beginning after the last role.
void visit_roles() {
    Oid at = last_role;
    bool wrapped = !OidIsValid(last_role);
    for (int i = 0; i < kMaxRoles;) {
        const auto [role, login] = next_callback_role(at);
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
        look_after_role(role, login);
        i++;
    }
    last_role = at;
}

void look() {
    wanted_count = asked_count = busy_count = 0;
    any = false;
    visit_roles();
    wanted_count = static_cast<int>(
        std::remove_if(wanted, wanted + wanted_count, [](const Wanted &each) { return is_busy(each.login); }) - wanted);
}

RoleStarts &starts_of(Oid role, std::int64_t now_us) {
    RoleStarts *found = &starts[0];
    for (RoleStarts &each : starts) {
        if (each.role == role) {
            found = &each;
            break;
        }
        if (each.used_us < found->used_us)
            found = &each;
    }
    if (found->role != role)
        *found = {.role = role, .first_due = 0, .used_us = 0, .pause_us = 0, .not_before_us = 0};
    found->used_us = now_us;
    return *found;
}

// Whether the role is in its pause, which begins here if the worker that it had has done nothing.
bool pauses(const Wanted &next, std::int64_t now_us) {
    RoleStarts &role = starts_of(next.role, now_us);
    if (role.first_due == next.first_due) {
        role.pause_us = std::clamp(role.pause_us * 2, kFirstPauseUs, kLongestPauseUs);
        role.not_before_us = now_us + role.pause_us;
    } else if (role.first_due != 0) {
        role.pause_us = role.not_before_us = 0;
    }
    role.first_due = 0;
    if (now_us < role.not_before_us)
        look_us = std::min(look_us, role.not_before_us);
    return now_us < role.not_before_us;
}

void note_begun(std::int64_t now_us) {
    for (std::size_t i = 0; i < std::size(asked); i++)
        if (OidIsValid(asked[i].role) && is_free(left->callbacks[i])) {
            starts_of(asked[i].role, now_us).first_due = asked[i].first_due;
            asked[i].role = InvalidOid;
        }
}

bool is_asked_for(Oid role) {
    return std::any_of(std::begin(left->callbacks), std::end(left->callbacks),
                       [&](const CallbackWish &wish) { return wish.role.load() == role; });
}

void ask_for(const Wanted &next, CallbackWish &wish, std::int64_t now_us) {
    asked[&wish - left->callbacks] = next;
    last_role = next.role;
    wish.deadline_ms.store(deadline_ms());
    wish.since_us.store(now_us);
    wish.role.store(next.role, std::memory_order_release);
    pg::set_latch_of(shmem::segment().header->launcher.proc_number.load());
}

void ask_for_next(std::int64_t now_us) {
    while (asked_count < wanted_count) {
        CallbackWish *free = std::find_if(std::begin(left->callbacks), std::end(left->callbacks), is_free);
        if (free == std::end(left->callbacks))
            return;
        const Wanted next = wanted[asked_count++];
        if (!is_asked_for(next.role) && workers().find(MyDatabaseId, next.role) == CallbackWorkers::kNone &&
            !pauses(next, now_us))
            ask_for(next, *free, now_us);
    }
}

}  // namespace

void begin_callbacks(shmem::WorkerPlaces::Left &mine) {
    left = &mine;
    for (std::size_t i = 0; i < std::size(asked); i++)
        asked[i].role = asked[i].login = left->callbacks[i].role.load();  // an earlier worker's wishes
}

void note_callback_due() {
    any = true;
    look_us = 0;
}

bool has_callbacks() { return any; }

std::int64_t callbacks_due_us() {
    if (!any)
        return INT64_MAX;
    return has_begun_any() && asked_count < wanted_count ? 0 : look_us;
}

void look_after_callbacks(std::int64_t now_us) {
    note_begun(now_us);
    if (now_us < look_us)
        return ask_for_next(now_us);
    look_us = now_us + kLookUs;
    if (!worker::run_transaction("looking after callbacks", look)) {
        any = true;
        look_us = now_us + kLookAfterFailureUs;
        return;
    }
    ask_for_next(now_us);
}

void end_callback_workers() {
    for (std::uint32_t i = 0; i < CallbackWorkers::kMost; i++) {
        const std::int32_t pid = workers().database_of(i) == MyDatabaseId ? workers().pid_of(i) : 0;
        if (pid != 0 && pid != MyProcPid)
            (void)kill(pid, SIGTERM);
    }
}

}  // namespace steadytext::queue
