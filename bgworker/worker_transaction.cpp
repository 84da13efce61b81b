// Runs a transaction in a background worker: see worker_transaction.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "bgworker/worker_transaction.hpp"
#include "src/pg/extension_lock.hpp"

extern "C" {
#include "access/xact.h"
#include "executor/spi.h"
#include "pgstat.h"
#include "utils/backend_status.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
}

namespace steadytext::worker {

bool run_transaction(const char *what, void (*step)(), core::Problem &problem, bool quiet) {
    volatile bool good = true, has_extension = true;
    MemoryContext caller = CurrentMemoryContext;
    pgstat_report_activity(STATE_RUNNING, what);
    PG_TRY();
    {
        SetCurrentStatementStartTimestamp();  // else now() would be the time when this process began
        StartTransactionCommand();
        has_extension = pg::lock_extension();
        if (SPI_connect() != SPI_OK_CONNECT)
            elog(ERROR, "SPI_connect failed");
        PushActiveSnapshot(GetTransactionSnapshot());
        Oid user;
        int security;
        GetUserIdAndSecContext(&user, &security);
        SetUserIdAndSecContext(user, security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
        const int settings = NewGUCNestLevel();
        step();
        AtEOXact_GUC(false, settings);
        SetUserIdAndSecContext(user, security);
        PopActiveSnapshot();
        SPI_finish();
        CommitTransactionCommand();
    }
    PG_CATCH();
    {
        MemoryContextSwitchTo(caller);
        ErrorData *error = CopyErrorData();
        problem.set(unpack_sql_state(error->sqlerrcode), "%s", error->message);
        if (!quiet && has_extension)
            EmitErrorReport();
        FlushErrorState();
        FreeErrorData(error);
        AbortCurrentTransaction();
        good = false;
    }
    PG_END_TRY();
    MemoryContextSwitchTo(caller);
    pgstat_report_stat(false);
    pgstat_report_activity(STATE_IDLE, nullptr);
    return good;
}

bool run_transaction(const char *what, void (*step)()) {
    core::Problem reported;
    return run_transaction(what, step, reported);
}

}  // namespace steadytext::worker
