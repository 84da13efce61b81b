// A call in a subtransaction, as somebody else: see callback.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/queue/callback.hpp"
#include "src/guc.hpp"

extern "C" {
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/timeout.h"
}

namespace steadytext::queue {

namespace {

// The role must still be allowed to call it; nobody asked since the job was queued.
void call(const pg_uuid_t &request, const char *callback, const char *user) {
    const Oid role = get_role_oid(user, false);
    Oid caller;
    int security;
    GetUserIdAndSecContext(&caller, &security);
    SetUserIdAndSecContext(role, security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
    Oid types[] = {UUIDOID};
    Datum values[] = {UUIDPGetDatum(&request)};
    if (SPI_execute_with_args(psprintf("SELECT %s($1)", callback), 1, types, values, nullptr, false, 0) < 0)
        elog(ERROR, "the callback could not be called");
    SetUserIdAndSecContext(caller, security);
}

void note_error(std::int64_t id, const char *message) {
    Oid types[] = {INT8OID, TEXTOID};
    Datum values[] = {Int64GetDatum(id), CStringGetTextDatum(message)};
    if (SPI_execute_with_args("UPDATE public.steadytext_queue SET callback_error = $2 WHERE id = $1", 2, types, values, nullptr, false,
                              0) != SPI_OK_UPDATE)
        elog(ERROR, "could not record a callback's error");
}

}  // namespace

void run_callback(std::int64_t id, const pg_uuid_t &request, const char *callback, const char *user) {
    MemoryContext context = CurrentMemoryContext;
    ResourceOwner owner = CurrentResourceOwner;
    const char *volatile failure = nullptr;
    BeginInternalSubTransaction(nullptr);
    MemoryContextSwitchTo(context);
    PG_TRY();
    {
        pqsignal(SIGINT, StatementCancelHandler);
        enable_timeout_after(STATEMENT_TIMEOUT, guc::request_timeout_ms);
        call(request, callback, user);
        disable_timeout(STATEMENT_TIMEOUT, false);
        pqsignal(SIGINT, SIG_IGN);
        ReleaseCurrentSubTransaction();
    }
    PG_CATCH();
    {
        disable_timeout(STATEMENT_TIMEOUT, false);
        pqsignal(SIGINT, SIG_IGN);
        MemoryContextSwitchTo(context);
        ErrorData *error = CopyErrorData();
        FlushErrorState();
        failure = psprintf("%s: %s", unpack_sql_state(error->sqlerrcode), error->message);
        RollbackAndReleaseCurrentSubTransaction();
    }
    PG_END_TRY();
    MemoryContextSwitchTo(context);
    CurrentResourceOwner = owner;
    QueryCancelPending = false;  // a timeout that came too late
    if (failure != nullptr)
        note_error(id, failure);
}

}  // namespace steadytext::queue
