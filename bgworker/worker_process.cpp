// The PostgreSQL side of a worker's life: see worker_process.hpp. Regime: pg.
#include "bgworker/worker_process.hpp"
#include "src/pg/as_owner.hpp"

extern "C" {
#include "access/xact.h"
#include "commands/extension.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/fd.h"
#include "storage/procsignal.h"
#include "tcop/tcopprot.h"
#include "utils/backend_status.h"
}

namespace steadytext::worker {

namespace {

// Only if the place still belongs to this process: a successor may have taken it (citus).
void withdraw(int, Datum argument) {
    auto *state = reinterpret_cast<shmem::WorkerState *>(DatumGetPointer(argument));
    std::int32_t mine = MyProcPid;
    if (state->pid.compare_exchange_strong(mine, 0))
        state->proc_number.store(-1);
}

// Only if the place still belongs to this process.
void withdraw_keeper(int, Datum argument) {
    auto *row = reinterpret_cast<shmem::DatabaseRow *>(DatumGetPointer(argument));
    std::int32_t mine = MyProcPid;
    if (row->keeper_pid.load() == mine)
        row->keeper_proc_number.store(-1);
    (void)row->keeper_pid.compare_exchange_strong(mine, 0);
}

// Called before signals are unblocked: the default handlers raise from inside a signal handler (pglogical#385).
void handle_signals(void (*terminate)(SIGNAL_ARGS), void (*cancel)(SIGNAL_ARGS)) {
    pqsignal(SIGTERM, terminate);
    pqsignal(SIGHUP, SignalHandlerForConfigReload);
    pqsignal(SIGINT, cancel);
    pqsignal(SIGUSR1, procsignal_sigusr1_handler);
    BackgroundWorkerUnblockSignals();
}

bool has_extension() {
    StartTransactionCommand();
    const Oid extension = get_extension_oid("pg_steadytext", true);
    CommitTransactionCommand();
    return OidIsValid(extension);
}

// Overrides the settings of the database and of roles: only a SET overrides PGC_S_OVERRIDE. A commit never waits for a
// standby, as such a wait has no end while no standby comes.
void settle_settings() {
    const struct {
        const char *name;
        const char *value;
    } settings[] = {{"search_path", "pg_catalog, pg_temp"},
                    {"lock_timeout", "2s"},
                    {"statement_timeout", "0"},
                    {"default_transaction_read_only", "off"},
                    {"default_transaction_isolation", "read committed"},
                    {"client_min_messages", "error"},
                    {"row_security", "off"},
                    {"synchronous_commit", "local"},
                    {"role", "none"}};
    for (const auto &setting : settings)
        SetConfigOption(setting.name, setting.value, PGC_SUSET, PGC_S_OVERRIDE);
    if (pg::kHasTransactionTimeout)
        SetConfigOption("transaction_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
}

}  // namespace

void begin(shmem::WorkerState &state) {
    handle_signals(SignalHandlerForShutdownRequest, SIG_IGN);
    BackgroundWorkerInitializeConnection(nullptr, nullptr, 0);

    state.proc_number.store(pg::my_proc_number());
    state.pid.store(MyProcPid);
    state.starts.fetch_add(1);
    before_shmem_exit(withdraw, PointerGetDatum(&state));
    pgstat_report_appname(MyBgworkerEntry->bgw_name);
    pgstat_report_activity(STATE_IDLE, nullptr);
}

bool begin_in(Oid database) {
    handle_signals(die, StatementCancelHandler);  // SIGINT is also needed for timeouts of locks and statements
    BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
    settle_settings();
    pgstat_report_appname(MyBgworkerEntry->bgw_name);
    pgstat_report_activity(STATE_IDLE, nullptr);
    return pg::become_owner() && has_extension();
}

void begin_as(Oid database, Oid role) {
    handle_signals(die, StatementCancelHandler);
    BackgroundWorkerInitializeConnectionByOid(database, role, pg::kWorkerFlags);
    settle_settings();
    SetConfigOption("row_security", "on", PGC_SUSET, PGC_S_OVERRIDE);
    SetConfigOption("lock_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
    pgstat_report_appname(MyBgworkerEntry->bgw_name);
    pgstat_report_activity(STATE_IDLE, nullptr);
}

bool become_keeper(shmem::DatabaseRow &row) {
    std::int32_t none = 0;
    if (!row.keeper_pid.compare_exchange_strong(none, MyProcPid))
        return false;
    row.keeper_proc_number.store(pg::my_proc_number());
    before_shmem_exit(withdraw_keeper, PointerGetDatum(&row));
    return true;
}

bool told_to_end() { return ProcDiePending != 0; }

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

// Exit code 1 asks for a restart after bgw_restart_time; 0 would mean no restart (pg_cron#99).
void leave() { proc_exit(1); }

}  // namespace steadytext::worker
