/*
 * latch_hop: how long two processes of one cluster take to wake each other through their latches.
 *
 * Called by the round_trip topic of the bench. `latch_round_trip(count)` starts a background worker, lets the
 * two set each other's latch in turn, `count` times, and returns the microseconds of one turn: two hops,
 * session to worker and back, as each request between a session and the gateway needs. Regime: PostgreSQL.
 * The worker ends by itself, after the last turn or when the session sets `over`: a SIGTERM may arrive while the worker
 * is in proc_exit(), where the FATAL of its handler restarts the server.
 *
 * Ordering: `turns` counts up; odd = the worker's move, even = the session's. SetLatch is a full barrier
 * before it looks for a sleeper, and ResetLatch one after, so a turn, or `over`, written before SetLatch is seen after
 * the wake-up.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "portability/instr_time.h"
#include "postmaster/bgworker.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/wait_event.h"

PG_MODULE_MAGIC;

/* Latches of processes lie in the main shared memory, at the same address everywhere. */
typedef struct Court {
    Latch *session;
    Latch *volatile worker; /* set by the worker once it runs */
    pg_atomic_uint32 turns;
    pg_atomic_uint32 over; /* 1: the session has left the game */
    uint32 last_turn;
} Court;

PGDLLEXPORT void latch_hop_worker(Datum main_arg);
PG_FUNCTION_INFO_V1(latch_round_trip);

/* False if the session has left. */
static bool wait_for_turn(Court *court, uint32 turn) {
    while (pg_atomic_read_u32(&court->turns) < turn) {
        if (pg_atomic_read_u32(&court->over) != 0)
            return false;
        WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH, -1, PG_WAIT_EXTENSION);
        ResetLatch(MyLatch);
        CHECK_FOR_INTERRUPTS();
    }
    return true;
}

void latch_hop_worker(Datum main_arg) {
    dsm_segment *segment;
    Court *court;

    BackgroundWorkerUnblockSignals();
    segment = dsm_attach(DatumGetUInt32(main_arg));
    if (segment == NULL)
        proc_exit(0); /* the session has gone */
    court = dsm_segment_address(segment);
    court->worker = MyLatch;
    SetLatch(court->session);
    for (uint32 turn = 1; turn <= court->last_turn; turn += 2) {
        if (!wait_for_turn(court, turn))
            break;
        pg_atomic_write_u32(&court->turns, turn + 1);
        SetLatch(court->session);
    }
}

static BackgroundWorkerHandle *start_worker(dsm_segment *segment) {
    BackgroundWorker worker = {0};
    BackgroundWorkerHandle *handle;

    worker.bgw_flags = BGWORKER_SHMEM_ACCESS;
    worker.bgw_start_time = BgWorkerStart_ConsistentState;
    worker.bgw_restart_time = BGW_NEVER_RESTART;
    worker.bgw_notify_pid = MyProcPid;
    worker.bgw_main_arg = UInt32GetDatum(dsm_segment_handle(segment));
    strlcpy(worker.bgw_library_name, "latch_hop", sizeof worker.bgw_library_name);
    strlcpy(worker.bgw_function_name, "latch_hop_worker", sizeof worker.bgw_function_name);
    strlcpy(worker.bgw_name, "latch_hop", BGW_MAXLEN);
    strlcpy(worker.bgw_type, "latch_hop", BGW_MAXLEN);
    if (!RegisterDynamicBackgroundWorker(&worker, &handle))
        ereport(ERROR,
                (errcode(ERRCODE_INSUFFICIENT_RESOURCES), errmsg("could not start a background worker")));
    return handle;
}

static void await_worker(BackgroundWorkerHandle *handle, Court *court) {
    pid_t pid;

    if (WaitForBackgroundWorkerStartup(handle, &pid) != BGWH_STARTED)
        ereport(ERROR, (errmsg("the background worker did not start")));
    while (court->worker == NULL) {
        WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH, -1, PG_WAIT_EXTENSION);
        ResetLatch(MyLatch);
        CHECK_FOR_INTERRUPTS();
    }
}

static double play(Court *court) {
    instr_time start;
    instr_time elapsed;

    INSTR_TIME_SET_CURRENT(start);
    for (uint32 turn = 1; turn <= court->last_turn; turn += 2) {
        pg_atomic_write_u32(&court->turns, turn);
        SetLatch(court->worker);
        (void)wait_for_turn(court, turn + 1);
    }
    INSTR_TIME_SET_CURRENT(elapsed);
    INSTR_TIME_SUBTRACT(elapsed, start);
    return INSTR_TIME_GET_MICROSEC(elapsed);
}

static void leave(Court *court) {
    pg_atomic_write_u32(&court->over, 1);
    if (court->worker != NULL)
        SetLatch(court->worker);
}

Datum latch_round_trip(PG_FUNCTION_ARGS) {
    uint32 count = PG_GETARG_UINT32(0);
    dsm_segment *segment = dsm_create(sizeof(Court), 0);
    Court *court = dsm_segment_address(segment);
    BackgroundWorkerHandle *handle;
    double microseconds;

    memset(court, 0, sizeof *court);
    court->session = MyLatch;
    court->last_turn = 2 * count;
    pg_atomic_init_u32(&court->turns, 0);
    pg_atomic_init_u32(&court->over, 0);
    handle = start_worker(segment);
    PG_TRY();
    {
        await_worker(handle, court);
        microseconds = play(court);
    }
    PG_CATCH();
    {
        leave(court); /* the worker may wait for a turn that will never come */
        PG_RE_THROW();
    }
    PG_END_TRY();
    WaitForBackgroundWorkerShutdown(handle); /* it reads the segment until then */
    dsm_detach(segment);
    PG_RETURN_FLOAT8(microseconds / count);
}
