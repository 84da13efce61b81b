// The callback worker: calls the functions that a role's requests named, one after another, once their results are
// recorded.
//
// Started by the launcher, for the queue worker (callbacks.cpp), as a dynamic background worker that connects *as the
// role*, like a session of the role: so a callback has exactly the role's rights, and leaves behind only what the role
// may. Regime: pg.
//
//    claim, commit ──▶ call it, mark it done, commit ──▶ the next
//
// The mark commits together with the callback's work, so a callback runs once unless it fails. Each callback begins
// with the settings that the worker began with. A callback that takes longer than steadytext.request_timeout is
// cancelled. If it goes on (it caught the cancel), the whole worker is ended a second later by die(), which nothing can
// catch. The queue worker records this in the row, and starts another worker for the rest.
#include "src/pg/compat.hpp"
#include "bgworker/places.hpp"
#include "bgworker/worker_transaction.hpp"
#include "bgworker/worker_process.hpp"
#include "bgworker/workers.hpp"
#include "shmem/segment.hpp"
#include "src/core/clock.hpp"
#include "src/pg/callback_function.hpp"
#include "src/pg/wait.hpp"
#include "src/queue/callback_sql.hpp"
#include "src/session/login.hpp"

extern "C" {
#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "postmaster/bgworker.h"
#include "parser/parse_func.h"
#include "storage/lock.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timeout.h"

PGDLLEXPORT void steadytext_callback_main(Datum);
}

namespace steadytext::queue {

namespace {

constexpr int kGraceMs = 1'000;  // between the cancel and the end
constexpr std::int64_t kLingerUs = 1'000'000;

worker::WorkerOrder order;
MemoryContext memory;  // of the current callback
DueCallback callback;
bool found;

shmem::CallbackWorkers &workers() { return shmem::segment().header->callback_workers; }

// The queue worker checks what happened to the callback in hand.
void leave_place(int, Datum) {
    workers().leave(order.place, MyProcPid);
    shmem::DatabaseTable &databases = *shmem::segment().databases;
    if (const std::uint32_t row = databases.find(order.database); row != shmem::DatabaseTable::kNone)
        pg::set_latch_of(databases[row].queue_proc_number.load());
}

// Runs in a signal handler: only sets flags, as die() does.
void end_worker() {
    ProcDiePending = true;
    InterruptPending = true;
    SetLatch(MyLatch);
}

void claim() {
    found = claim_callback(order.role, callback);
    if (found && callback.function != nullptr)
        callback.function = MemoryContextStrdup(memory, callback.function);
}

// The function is called under its own settings, which are undone before its mark is written.
void call_and_mark() {
    session::set_login(callback.login);
    const int settings = NewGUCNestLevel();
    (void)set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
                            false);
    enable_timeout_after(STATEMENT_TIMEOUT, order.deadline_ms);
    enable_timeout_after(USER_TIMEOUT, order.deadline_ms + kGraceMs);
    FmgrInfo function;
    LOCAL_FCINFO(arguments, 1);
    fmgr_info(pg::callback_function(callback.function, callback.owner).oid, &function);
    InitFunctionCallInfoData(*arguments, &function, 1, InvalidOid, nullptr, nullptr);
    arguments->args[0] = {UUIDPGetDatum(&callback.request), false};
    (void)FunctionCallInvoke(arguments);  // its return value is ignored
    AtEOXact_GUC(false, settings);
    end_callback(callback.id, nullptr);
    disable_all_timeouts(false);
}

// Another transaction may have locked the row: then the queue worker settles it later.
const char *failure;
void mark_failed() {
    enable_timeout_after(STATEMENT_TIMEOUT, kGraceMs);
    enable_timeout_after(USER_TIMEOUT, 2 * kGraceMs);
    end_callback(callback.id, failure);
    disable_all_timeouts(false);
}

bool fail(const char *reason) {
    failure = reason;
    const bool good = worker::run_transaction("recording a callback's error", mark_failed);
    disable_all_timeouts(false);
    return good;
}

// False: the worker should end.
bool call() {
    if (callback.function == nullptr)
        return fail("42501: the role has not asked for it");
    core::Problem problem;
    const std::int64_t began_us = core::monotonic_us();
    const bool good = worker::run_transaction("calling a callback", call_and_mark, problem, true);
    disable_all_timeouts(false);
    QueryCancelPending = false;             // a timeout that came too late
    LockReleaseAll(USER_LOCKMETHOD, true);  // a restricted operation leaves no other state in a session
    if (good)
        return true;
    const bool too_long = core::monotonic_us() - began_us >= std::int64_t{order.deadline_ms} * 1000;
    return fail(too_long ? psprintf("57014: it took longer than %d ms", order.deadline_ms)
                         : psprintf("%s: %s", problem.sqlstate, problem.message));
}

bool claim_next() {
    MemoryContextReset(memory);
    MemoryContextSwitchTo(memory);
    // The claim need not survive a crash: a callback that is claimed and not done is claimed again.
    SetConfigOption("synchronous_commit", "off", PGC_SUSET, PGC_S_OVERRIDE);
    const bool good = worker::run_transaction("claiming a callback", claim);
    SetConfigOption("synchronous_commit", "local", PGC_SUSET, PGC_S_OVERRIDE);
    return good;
}

bool is_awaited() { return shmem::worker_places().waiting_callbacks.load(std::memory_order_relaxed) > 0; }

void serve() {
    static pg::WaitEvent waiting("SteadytextCallback");
    const std::int64_t began_us = core::monotonic_us();
    std::int64_t busy_us = began_us;
    while (claim_next()) {
        const std::int64_t now_us = core::monotonic_us();
        if (found) {
            if (!call() || (is_awaited() && core::monotonic_us() - began_us >= worker::kTurnUs) ||
                worker::turn_is_over(began_us))
                return;
            busy_us = core::monotonic_us();
        } else if (now_us - busy_us >= kLingerUs || is_awaited() || worker::turn_is_over(began_us)) {
            return;
        } else {
            pg::sleep_until(busy_us + kLingerUs, waiting);
        }
        (void)worker::serve_interrupts();
    }
}

}  // namespace

}  // namespace steadytext::queue

void steadytext_callback_main(Datum) {
    using namespace steadytext;
    using namespace steadytext::queue;
    order = worker::my_order();
    if (!workers().come(order.place, order.database, order.role, MyProcPid))
        proc_exit(0);
    before_shmem_exit(leave_place, static_cast<Datum>(0));
    worker::begin_as(order.database, order.role);
    workers().set_proc_number(order.place, pg::my_proc_number());
    RegisterTimeout(USER_TIMEOUT, end_worker);
    memory = AllocSetContextCreate(TopMemoryContext, "steadytext callback", ALLOCSET_DEFAULT_SIZES);
    serve();
    proc_exit(0);
}
