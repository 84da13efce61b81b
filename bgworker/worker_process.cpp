// The PostgreSQL side of a worker's life. Regime: pg.
#include "bgworker/worker_process.hpp"

extern "C" {
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/fd.h"
#include "storage/procsignal.h"
#include "utils/backend_status.h"
}

namespace steadytext::worker {

namespace {

// Only if the place is still ours: a successor may have taken it (citus).
void withdraw(int, Datum argument) {
    auto *state = reinterpret_cast<shmem::WorkerState *>(DatumGetPointer(argument));
    std::int32_t mine = MyProcPid;
    if (state->pid.compare_exchange_strong(mine, 0))
        state->proc_number.store(-1);
}

}  // namespace

void begin(shmem::WorkerState &state) {
    // Before signals are unblocked: the default handlers raise from inside a signal handler (pglogical#385).
    pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
    pqsignal(SIGHUP, SignalHandlerForConfigReload);
    pqsignal(SIGINT, SIG_IGN);
    pqsignal(SIGUSR1, procsignal_sigusr1_handler);
    BackgroundWorkerUnblockSignals();
    BackgroundWorkerInitializeConnection(nullptr, nullptr, 0);

    state.proc_number.store(pg::my_proc_number());
    state.pid.store(MyProcPid);
    state.starts.fetch_add(1);
    before_shmem_exit(withdraw, PointerGetDatum(&state));
    pgstat_report_appname(MyBgworkerEntry->bgw_name);
    pgstat_report_activity(STATE_IDLE, nullptr);
}

void make_directory() {
    if (MakePGDirectory(kDirectory) != 0 && errno != EEXIST)
        ereport(FATAL, (errcode_for_file_access(), errmsg("could not create directory \"%s\": %m", kDirectory)));
}

bool serve_interrupts() {
    CHECK_FOR_INTERRUPTS();
    if (!ConfigReloadPending)
        return false;
    ConfigReloadPending = false;
    ProcessConfigFile(PGC_SIGHUP);
    return true;
}

bool shutdown_requested() { return ShutdownRequestPending != 0; }

// Exit code 1 asks for a restart after bgw_restart_time; 0 would mean never again (pg_cron#99).
void leave() {
    proc_exit(1);
}

}  // namespace steadytext::worker
