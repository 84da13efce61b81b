// Adding to the async queue, waiting for it, cancelling and requeueing. Regime: pg.
//
// A role may read its own rows of steadytext_queue; they are written here, as the table's owner, with the caller in user_id.
// What was changed is told to the worker, and to those who wait, once the transaction has committed.
#include "src/pg/compat.hpp"
#include "shmem/segment.hpp"
#include "src/core/clock.hpp"
#include "src/guc.hpp"
#include "src/pg/as_owner.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/own_table.hpp"
#include "src/session/arguments.hpp"
#include "src/session/keeper_call.hpp"

extern "C" {
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/acl.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/uuid.h"
}

#include <algorithm>
#include <utility>

namespace {

using namespace steadytext;

// ---- at commit -----------------------------------------------------------------------------------------------------------

// What this transaction does to the queue; of subtransactions that are rolled back the worker only looks once too often.
struct Changes {
    std::int64_t added = 0;
    bool any = false;
    bool cancels = false;
};
Changes changes;

void tell(const Changes &what) {
    const shmem::Segment &segment = shmem::segment();
    shmem::DatabaseRow *row = session::my_database();
    if (row == nullptr)
        return;
    row->queue_length.fetch_add(what.added);
    if (what.cancels)
        row->queue_cancels.fetch_add(1);
    row->queue_changes.fetch_add(1, std::memory_order_release);
    const std::int32_t at_work = row->queue_proc_number.load();
    pg::set_latch_of(at_work >= 0 ? at_work : segment.header->launcher.proc_number.load());
    if (what.cancels)
        segment.queue_waiters->wake([](std::uint64_t) { return true; }, pg::set_latch_of);
}

void at_transaction_end(XactEvent event, void *) {
    if (event == XACT_EVENT_COMMIT && changes.any)
        tell(changes);
    if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
        changes = {};
}

void note(std::int64_t added, bool cancels) {
    static bool registered = false;
    if (!registered)
        RegisterXactCallback(at_transaction_end, nullptr);
    registered = true;
    changes.any = true;
    changes.added += added;
    changes.cancels |= cancels;
}

// ---- as the table's owner ------------------------------------------------------------------------------------------------

struct Statement {
    const char *text;
    SPIPlanPtr plan = nullptr;
};

void execute_as_owner(Statement &statement, int count, const Oid *types, const Datum *values, const char *nulls) {
    const Oid table = pg::own_table("steadytext_queue");
    if (!OidIsValid(table))
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("table steadytext_queue does not exist")));
    const pg::Caller caller = pg::begin_as_owner(table);
    if (statement.plan == nullptr) {
        SPIPlanPtr plan = SPI_prepare(statement.text, count, const_cast<Oid *>(types));
        if (plan == nullptr || SPI_keepplan(plan) != 0)
            elog(ERROR, "could not prepare a statement on steadytext_queue");
        statement.plan = plan;
    }
    if (SPI_execute_plan(statement.plan, const_cast<Datum *>(values), nulls, false, 0) < 0)
        elog(ERROR, "a statement on steadytext_queue failed");
    pg::end_as_owner(caller);
}

Datum caller_name() { return CStringGetTextDatum(GetUserNameFromId(GetUserId(), false)); }

// As %c in log_line_prefix.
Datum session_name() { return CStringGetTextDatum(psprintf("%lx.%x", static_cast<unsigned long>(MyStartTime), static_cast<unsigned>(MyProcPid))); }

// The name by which the worker will call it: a function of one uuid. Whether the role may, is asked then again.
Datum callback_name(Oid function) {
    HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
    const auto *form = HeapTupleIsValid(tuple) ? reinterpret_cast<Form_pg_proc>(GETSTRUCT(tuple)) : nullptr;
    if (form == nullptr || form->prokind != PROKIND_FUNCTION || form->pronargs != 1 || form->proargtypes.values[0] != UUIDOID)
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_FUNCTION), errmsg("a callback must be a function of one uuid")));
    const Datum may = DirectFunctionCall2(has_function_privilege_id, ObjectIdGetDatum(function), CStringGetTextDatum("EXECUTE"));
    if (!DatumGetBool(may))
        ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("permission denied for function %s", NameStr(form->proname))));
    const Datum name = CStringGetTextDatum(quote_qualified_identifier(get_namespace_name(form->pronamespace), NameStr(form->proname)));
    ReleaseSysCache(tuple);
    return name;
}

void refuse_if_full() {
    const shmem::DatabaseRow *row = session::my_database();
    if (row == nullptr || guc::queue_max_length == 0 || row->queue_length.load() + changes.added < guc::queue_max_length)
        return;
    core::Problem problem;
    problem.set(core::sqlstate::kConfigurationLimitExceeded, "the queue of asynchronous calls is full");
    problem.with_detail("It has %lld of at most %d.", static_cast<long long>(row->queue_length.load() + changes.added), guc::queue_max_length)
        .with_hint("Wait until some are done, or raise steadytext.queue_max_length.");
    pg::raise(problem);
}

// ---- waiting -------------------------------------------------------------------------------------------------------------

// What the caller sees of its requests now. Those it does not see, it need not wait for.
struct Seen {
    bool waits = false;
    bool own = false;        // for one that this transaction queued
    std::uint64_t last = 0;  // the key of the one queued last, which mostly ends last
};

Seen look(Datum request_ids) {
    static SPIPlanPtr plan = nullptr;
    if (plan == nullptr) {
        Oid types[] = {UUIDARRAYOID};
        SPIPlanPtr prepared = SPI_prepare("SELECT xmin, request_id FROM public.steadytext_queue"
                                          " WHERE request_id = ANY ($1) AND completed_at IS NULL ORDER BY id DESC",
                                          1, types);
        if (prepared == nullptr || SPI_keepplan(prepared) != 0)
            elog(ERROR, "could not prepare a statement on steadytext_queue");
        plan = prepared;
    }
    Datum values[] = {request_ids};
    if (SPI_execute_plan(plan, values, nullptr, false, 0) != SPI_OK_SELECT)
        elog(ERROR, "a statement on steadytext_queue failed");
    Seen seen;
    seen.waits = SPI_processed > 0;
    for (std::uint64_t i = 0; i < SPI_processed; i++) {
        bool is_null;
        const Datum writer = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &is_null);
        seen.own |= TransactionIdIsCurrentTransactionId(DatumGetTransactionId(writer));
        if (i == 0)
            memcpy(&seen.last, DatumGetUUIDP(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2, &is_null))->data,
                   sizeof seen.last);
    }
    SPI_freetuptable(SPI_tuptable);
    return seen;
}

[[noreturn]] void refuse_to_wait(const char *why, const char *hint) {
    core::Problem problem;
    problem.set("25001", "cannot wait for an asynchronous call %s", why);
    problem.with_hint("%s", hint);
    pg::raise(problem);
}

// Of several it waits for one, then looks at all again: so it is woken a few times, not by each.
bool wait_for(Datum request_ids, std::int64_t until_us) {
    static uint32 waiting = 0;
    if (waiting == 0)
        waiting = pg::wait_event("SteadytextQueue");
    for (std::uint64_t told_of = shmem::QueueWaiters::kAny;;) {
        shmem::segment().queue_waiters->begin(pg::my_proc_number(), told_of);
        const Seen seen = look(request_ids);
        if (!seen.waits)
            return true;
        if (seen.own)
            refuse_to_wait("in the transaction that queued it", "It begins when the transaction commits.");
        if (IsolationUsesXactSnapshot())
            refuse_to_wait("in a transaction with a snapshot of its own", "It would never see the end. Wait under READ COMMITTED.");
        const std::int64_t left_us = until_us - core::monotonic_us();
        if (left_us <= 0)
            return false;
        if (std::exchange(told_of, seen.last) != seen.last)
            continue;
        // Once a second all the same: a row may have been changed by hand.
        (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
                        static_cast<long>((std::min<std::int64_t>(left_us, 1'000'000) + 999) / 1000), waiting);
        ResetLatch(MyLatch);
        CHECK_FOR_INTERRUPTS();
    }
}

void stop_waiting(int, Datum) { shmem::segment().queue_waiters->end(pg::my_proc_number()); }

}  // namespace

// request_type, prompt, prompts, params, priority, max_retries, callback, channel
STEADYTEXT_FUNCTION(steadytext_queue_add) {
    static Statement statement{
        "INSERT INTO public.steadytext_queue (request_type, prompt, prompts, params, priority, max_retries, callback, user_id, session_id)"
        " VALUES ($1, $2, $3, $4, $5, coalesce($6, 3), $7, $9, $10) RETURNING request_id, pg_catalog.pg_notify($8,"
        " CASE WHEN $8 = 'steadytext_queue_notify' THEN '' ELSE request_id::text END)"};
    constexpr int kArguments = 8, kCount = kArguments + 2;
    const Oid types[kCount] = {TEXTOID, TEXTOID, TEXTARRAYOID, JSONBOID, INT4OID, INT4OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID};
    Datum values[kCount];
    char nulls[kCount + 1] = "          ";
    session::require_arguments("_steadytext.queue_add", fcinfo);
    refuse_if_full();
    for (int i = 0; i < kArguments; i++) {
        nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
        values[i] = PG_ARGISNULL(i) ? static_cast<Datum>(0) : PG_GETARG_DATUM(i);
    }
    if (!PG_ARGISNULL(6))
        values[6] = callback_name(PG_GETARG_OID(6));
    if (PG_ARGISNULL(4)) {
        values[4] = Int32GetDatum(guc::queue_priority);
        nulls[4] = ' ';
    }
    values[kArguments] = caller_name();
    values[kArguments + 1] = session_name();
    SPI_connect();
    execute_as_owner(statement, kCount, types, values, nulls);
    bool is_null;
    if (session::my_database() == nullptr)
        ereport(WARNING, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED), errmsg("the asynchronous call is queued, but will not be carried out for now"),
                          errdetail("More databases use pg_steadytext than the %u shared memory has rows for.", shmem::segment().databases->size()),
                          errhint("Raise steadytext.max_databases and restart the server, or drop databases.")));
    const pg_uuid_t id = *DatumGetUUIDP(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null));
    SPI_finish();
    note(1, false);
    auto *result = static_cast<pg_uuid_t *>(palloc(sizeof(pg_uuid_t)));
    *result = id;
    return UUIDPGetDatum(result);
}

STEADYTEXT_FUNCTION(steadytext_queue_cancel) {
    static Statement statement{
        "UPDATE public.steadytext_queue SET status = 'cancelled', completed_at = pg_catalog.clock_timestamp(), worker_pid = NULL,"
        " lease_until = NULL WHERE request_id = $1 AND status IN ('pending', 'processing') AND ($3 OR user_id = $2)"
        " RETURNING pg_catalog.pg_notify('steadytext_queue_done',"
        " pg_catalog.json_build_object('request_id', request_id, 'status', status)::text)"};
    if (PG_ARGISNULL(0))
        return BoolGetDatum(false);
    const Oid types[] = {UUIDOID, TEXTOID, BOOLOID};
    const Datum values[] = {PG_GETARG_DATUM(0), caller_name(), BoolGetDatum(superuser())};
    SPI_connect();
    execute_as_owner(statement, 3, types, values, nullptr);
    const bool found = SPI_processed > 0;
    SPI_finish();
    if (found)
        note(-1, true);
    return BoolGetDatum(found);
}

STEADYTEXT_FUNCTION(steadytext_queue_requeue) {
    static Statement statement{
        "UPDATE public.steadytext_queue SET status = 'pending', run_at = pg_catalog.now(), retry_count = 0, lost_count = 0,"
        " error = NULL, started_at = NULL, completed_at = NULL, processing_time_ms = NULL, callback_error = NULL,"
        " callback_state = NULL"
        " WHERE request_id = ANY ($1) AND status IN ('failed', 'cancelled') AND ($3 OR user_id = $2)"};
    if (PG_ARGISNULL(0))
        return Int32GetDatum(0);
    refuse_if_full();
    const Oid types[] = {UUIDARRAYOID, TEXTOID, BOOLOID};
    const Datum values[] = {PG_GETARG_DATUM(0), caller_name(), BoolGetDatum(superuser())};
    SPI_connect();
    execute_as_owner(statement, 3, types, values, nullptr);
    const auto count = static_cast<std::int32_t>(SPI_processed);
    SPI_finish();
    if (count > 0)
        note(count, false);
    return Int32GetDatum(count);
}

STEADYTEXT_FUNCTION(steadytext_queue_look) {
    note(0, false);
    PG_RETURN_VOID();
}

STEADYTEXT_FUNCTION(steadytext_queue_wait) {
    session::require_arguments("_steadytext.queue_wait", fcinfo);
    if (PG_ARGISNULL(0))
        return BoolGetDatum(true);
    const std::int64_t seconds = PG_ARGISNULL(1) ? 30 : PG_GETARG_INT32(1);
    const std::int64_t until_us = core::monotonic_us() + seconds * 1'000'000;
    bool ended = false;
    SPI_connect();
    PG_ENSURE_ERROR_CLEANUP(stop_waiting, static_cast<Datum>(0));
    {
        ended = wait_for(PG_GETARG_DATUM(0), until_us);
    }
    PG_END_ENSURE_ERROR_CLEANUP(stop_waiting, static_cast<Datum>(0));
    stop_waiting(0, static_cast<Datum>(0));
    SPI_finish();
    return BoolGetDatum(ended);
}
