// The PostgreSQL side of a worker's life. Regime: pg.
#include "bgworker/worker_process.hpp"
#include "src/pg/as_owner.hpp"

extern "C" {
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

// Only if the place is still ours: a successor may have taken it (citus).
void withdraw(int, Datum argument) {
    auto *state = reinterpret_cast<shmem::WorkerState *>(DatumGetPointer(argument));
    std::int32_t mine = MyProcPid;
    if (state->pid.compare_exchange_strong(mine, 0))
        state->proc_number.store(-1);
}

// Only if the place is still ours.
void withdraw_keeper(int, Datum argument) {
    auto *row = reinterpret_cast<shmem::DatabaseRow *>(DatumGetPointer(argument));
    std::int32_t mine = MyProcPid;
    if (row->keeper_pid.load() == mine)
        row->keeper_proc_number.store(-1);
    (void)row->keeper_pid.compare_exchange_strong(mine, 0);
}

bool joined = false;

// A database that cannot be joined, or a server without the owner role: nobody will ever write what waits for it.
void drop_writes(int, Datum argument) {
    if (joined)
        return;
    auto *row = reinterpret_cast<shmem::DatabaseRow *>(DatumGetPointer(argument));
    const shmem::Segment &segment = shmem::segment();
    const auto database = static_cast<std::uint32_t>(row - segment.databases->rows);
    for (std::uint32_t index = 0; segment.cache_writes->take(database, index);) {
        segment.cache_writes->finish(index);
        row->pending_writes.fetch_sub(1);
    }
    for (std::uint32_t index = 0; (index = segment.audit->find(database, index)) != shmem::AuditRing::kNone; index++) {
        segment.audit->finish(index);
        row->pending_audit.fetch_sub(1);
        segment.counters->add(0, shmem::Counter::AuditDropped);
    }
    shmem::Usage::Entry unwritten;
    while (segment.usage->take(row->oid.load(), &unwritten, 1) > 0)
        continue;
    row->usage_since_us.store(0);
    row->refreshes_done.store(row->refreshes_wanted.load());
    row->hits_refreshed.store(row->hits());
}

void handle_signals() {
    // Before signals are unblocked: the default handlers raise from inside a signal handler (pglogical#385).
    pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
    pqsignal(SIGHUP, SignalHandlerForConfigReload);
    pqsignal(SIGINT, SIG_IGN);
    pqsignal(SIGUSR1, procsignal_sigusr1_handler);
    BackgroundWorkerUnblockSignals();
}

// Whatever the database's or the superuser's settings are.
void settle_keeper_settings() {
    const struct {
        const char *name;
        const char *value;
    } settings[] = {{"search_path", "pg_catalog, pg_temp"},       {"lock_timeout", "2s"},
                    {"statement_timeout", "0"},                   {"default_transaction_read_only", "off"},
                    {"default_transaction_isolation", "read committed"}, {"client_min_messages", "error"},
                    {"row_security", "off"}};
    for (const auto &setting : settings)
        SetConfigOption(setting.name, setting.value, PGC_SUSET, PGC_S_OVERRIDE);
}

}  // namespace

void begin(shmem::WorkerState &state) {
    handle_signals();
    BackgroundWorkerInitializeConnection(nullptr, nullptr, 0);

    state.proc_number.store(pg::my_proc_number());
    state.pid.store(MyProcPid);
    state.starts.fetch_add(1);
    before_shmem_exit(withdraw, PointerGetDatum(&state));
    pgstat_report_appname(MyBgworkerEntry->bgw_name);
    pgstat_report_activity(STATE_IDLE, nullptr);
}

bool begin_keeper(shmem::DatabaseRow &row) {
    handle_signals();
    pqsignal(SIGINT, StatementCancelHandler);  // by which lock_timeout works too
    before_shmem_exit(drop_writes, PointerGetDatum(&row));
    BackgroundWorkerInitializeConnectionByOid(row.oid.load(), InvalidOid, 0);
    settle_keeper_settings();
    joined = pg::become_owner();
    if (!joined)
        return false;
    std::int32_t none = 0;
    if (!row.keeper_pid.compare_exchange_strong(none, MyProcPid))
        return false;
    row.keeper_proc_number.store(pg::my_proc_number());
    before_shmem_exit(withdraw_keeper, PointerGetDatum(&row));
    pgstat_report_appname(MyBgworkerEntry->bgw_name);
    pgstat_report_activity(STATE_IDLE, nullptr);
    return true;
}

bool begin_in(Oid database) {
    handle_signals();
    BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
    settle_keeper_settings();
    if (!pg::become_owner())
        return false;
    pgstat_report_appname(MyBgworkerEntry->bgw_name);
    pgstat_report_activity(STATE_IDLE, nullptr);
    return true;
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
