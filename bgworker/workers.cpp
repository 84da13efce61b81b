// Registers the permanent workers and the workers of databases. Regime: pg.
#include "src/pg/compat.hpp"
#include "bgworker/workers.hpp"

extern "C" {
#include "access/xlog.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
}

namespace steadytext::worker {

namespace {

constexpr int kRestartSeconds = 1;

BackgroundWorker describe(const char *name, const char *function, BgWorkerStartTime start_time, int restart_seconds) {
    BackgroundWorker worker = {};
    worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
    worker.bgw_start_time = start_time;
    worker.bgw_restart_time = restart_seconds;
    snprintf(worker.bgw_name, sizeof worker.bgw_name, "%s", name);
    snprintf(worker.bgw_type, sizeof worker.bgw_type, "%s", name);
    snprintf(worker.bgw_library_name, sizeof worker.bgw_library_name, "pg_steadytext");
    snprintf(worker.bgw_function_name, sizeof worker.bgw_function_name, "%s", function);
    return worker;
}

// Starts at consistent state, so that hot standbys are served. It is connected, but without a database: so
// pg_stat_activity shows it, it takes part in barriers, and it never blocks DROP DATABASE.
void register_worker(const char *name, const char *function) {
    BackgroundWorker worker = describe(name, function, BgWorkerStart_ConsistentState, kRestartSeconds);
    RegisterBackgroundWorker(&worker);
}

}  // namespace

BackgroundWorkerHandle *start_worker(const char *kind, const char *function, const WorkerOrder &order) {
    char type[BGW_MAXLEN];
    snprintf(type, sizeof type, "pg_steadytext %s", kind);
    // On a standby only hub workers are started.
    BackgroundWorker worker =
        describe(type, function, RecoveryInProgress() ? BgWorkerStart_ConsistentState : BgWorkerStart_RecoveryFinished,
                 BGW_NEVER_RESTART);
    snprintf(worker.bgw_name, sizeof worker.bgw_name, "pg_steadytext %s of database %u", kind, order.database);
    static_assert(sizeof order <= sizeof worker.bgw_extra);
    memcpy(worker.bgw_extra, &order, sizeof order);
    worker.bgw_notify_pid = MyProcPid;
    BackgroundWorkerHandle *handle = nullptr;
    return RegisterDynamicBackgroundWorker(&worker, &handle) ? handle : nullptr;
}

WorkerOrder my_order() {
    WorkerOrder order;
    memcpy(&order, MyBgworkerEntry->bgw_extra, sizeof order);
    return order;
}

void register_workers() {
    register_worker("pg_steadytext gateway", "steadytext_gateway_main");
    register_worker("pg_steadytext launcher", "steadytext_launcher_main");
}

}  // namespace steadytext::worker
