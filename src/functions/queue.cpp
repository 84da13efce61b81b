// Adding to the async queue, waiting for it, cancelling and requeueing. Regime: pg.
//
// A role may read its own rows of steadytext_queue. This file writes them, as the table's owner, with the caller in
// user_oid and user_id. Places in the queue are of the role that connected (session_user_oid): SET ROLE gives nobody
// more of them. queue_changes.hpp reserves them, and tells others of the change at commit.
#include "src/pg/compat.hpp"
#include "shmem/segment.hpp"
#include "src/core/clock.hpp"
#include "src/core/job_types.hpp"
#include "src/functions/callback_proof.hpp"
#include "src/functions/job_check.hpp"
#include "src/functions/queue_changes.hpp"
#include "src/functions/queue_rows.hpp"
#include "src/guc.hpp"
#include "src/pg/as_owner.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/callback_function.hpp"
#include "src/pg/kept_statement.hpp"
#include "src/pg/lock_wait.hpp"
#include "src/pg/wait.hpp"
#include "src/session/arguments.hpp"
#include "src/session/keeper_call.hpp"
#include "src/session/login.hpp"
#include "src/session/notify.hpp"

extern "C" {
#include "access/detoast.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/uuid.h"
}

#include <algorithm>
#include <utility>

namespace {

using namespace steadytext;

// ---- as the table's owner ------------------------------------------------------------------------------------------

void execute_as_owner(pg::KeptStatement &statement, std::span<const pg::Bound> values) {
    const pg::Caller caller = pg::begin_as_owner();
    pg::bound_lock_waits(guc::request_timeout_ms);
    statement.execute(values);
    pg::end_as_owner(caller);
}

Datum caller_name() { return CStringGetTextDatum(GetUserNameFromId(GetUserId(), false)); }

// As %c in log_line_prefix.
Datum session_name() {
    return CStringGetTextDatum(
        psprintf("%lx.%x", static_cast<unsigned long>(MyStartTime), static_cast<unsigned>(MyProcPid)));
}

// The role in the first column of the last statement's result.
Oid role_at(int row) {
    bool is_null;
    return DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, 1, &is_null));
}

// The most places that the role may have: steadytext.queue_max_per_role, or half of the places that the other roles
// leave.
std::int64_t share_of(const shmem::QueuePlaces &places, std::int64_t own) {
    if (guc::queue_max_per_role > 0)
        return guc::queue_max_per_role;
    return guc::queue_max_length == 0 ? INT64_MAX : (guc::queue_max_length - (places.held() - own)) / 2;
}

[[noreturn]] void refuse(const char *what, std::int64_t has, std::int64_t most, const char *setting) {
    core::Problem problem;
    problem.set(core::sqlstate::kConfigurationLimitExceeded, "%s", what);
    problem
        .with_detail("It has %lld of at most %lld.", static_cast<long long>(has),
                     static_cast<long long>(std::max<std::int64_t>(most, 0)))
        .with_hint("Wait until some are done, or raise %s.", setting);
    pg::raise(problem);
}

// Called before `count` requests of the role are added, or after that in the same transaction.
void refuse_if_full(Oid role, std::int64_t count) {
    shmem::DatabaseRow *row = session::my_database();
    if (row == nullptr)
        return;
    shmem::QueuePlaces &places = row->queue_places;
    if (guc::queue_max_length > 0 && places.held() + count > guc::queue_max_length)
        refuse("the queue of asynchronous calls is full", places.held(), guc::queue_max_length,
               "steadytext.queue_max_length");
    if (superuser_arg(session::login()))
        return;
    const std::int64_t own = places.of(role).held(), share = share_of(places, own);
    if (own + count > share)
        refuse(psprintf("role \"%s\" has its share of the queue of asynchronous calls", GetUserNameFromId(role, false)),
               own, share,
               guc::queue_max_per_role > 0 ? "steadytext.queue_max_per_role" : "steadytext.queue_max_length");
}

// ---- the size of a request ------------------------------------------------------------------------------------------

// The worker would not carry such a request out, for lack of memory.
void refuse_if_too_large(const char *type, std::span<const pg::Bound, 3> payload) {
    std::int64_t bytes = 0;
    for (const pg::Bound &part : payload)
        bytes += part.is_null ? 0 : static_cast<std::int64_t>(toast_raw_datum_size(part.value));
    const std::int64_t most = std::int64_t{guc::queue_memory_kb} * 1024 / 4;
    core::Problem problem;
    if (bytes > most) {
        problem.set("54000", "an asynchronous call may have at most %lld kB", static_cast<long long>(most / 1024));
        problem.with_detail("It has %lld kB.", static_cast<long long>(bytes / 1024))
            .with_hint("Queue it in parts, or raise steadytext.queue_memory, a quarter of which one call may have.");
        pg::raise(problem);
    }
    const pg::Bound &prompts = payload[1];
    if (prompts.is_null)
        return;
    ArrayType *texts = DatumGetArrayTypeP(prompts.value);
    const std::int64_t count = ArrayGetNItems(ARR_NDIM(texts), ARR_DIMS(texts));
    if (count > core::kMaxParts) {
        problem.set("54000", "a batch may have at most %d parts", core::kMaxParts);
        problem.with_detail("It has %lld.", static_cast<long long>(count)).with_hint("Queue it in parts.");
        pg::raise(problem);
    }
    if (strcmp(type, "batch_embed") != 0)
        return;
    const std::int64_t most_vectors = most / (std::int64_t{guc::embedding_dimensions} * 4 + 16);
    if (count <= most_vectors)
        return;
    problem.set("54000", "an asynchronous call may have at most %lld embeddings of %d dimensions",
                static_cast<long long>(most_vectors), guc::embedding_dimensions);
    problem.with_detail("It has %lld.", static_cast<long long>(count))
        .with_hint(
            "Queue it in parts, or raise steadytext.queue_memory, a quarter of which one call's answers may have.");
    pg::raise(problem);
}

// ---- waiting -------------------------------------------------------------------------------------------------------

// The caller's requests as the caller sees them now. It need not wait for a request that it does not see.
struct Seen {
    bool waits = false;
    bool own = false;        // this transaction queued a request that waits
    std::uint64_t last = 0;  // the key of the request queued last, which mostly ends last
};

// If another transaction has locked the table, waits for it, until then.
Seen look(Datum request_ids, std::int64_t until_us) {
    static pg::KeptStatement statement{"steadytext_queue",
                                       "SELECT xmin, request_id FROM public.steadytext_queue"
                                       " WHERE request_id = ANY ($1) AND completed_at IS NULL ORDER BY id DESC",
                                       SPI_OK_SELECT};
    const pg::Caller caller = pg::begin_pinned();
    pg::bound_lock_waits(
        static_cast<int>(std::clamp<std::int64_t>((until_us - core::monotonic_us()) / 1000, 1, INT_MAX)));
    statement.execute({{UUIDARRAYOID, request_ids}});
    pg::end_as_owner(caller);
    Seen seen;
    seen.waits = SPI_processed > 0;
    for (std::uint64_t i = 0; i < SPI_processed; i++) {
        bool is_null;
        const Datum writer = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &is_null);
        seen.own |= TransactionIdIsCurrentTransactionId(DatumGetTransactionId(writer));
        if (i == 0)
            memcpy(&seen.last,
                   DatumGetUUIDP(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2, &is_null))->data,
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

// Waits for the request that was queued last, then looks at all again: so it wakes a few times, not at the end of each
// request.
bool wait_for(Datum request_ids, std::int64_t until_us) {
    static pg::WaitEvent waiting("SteadytextQueue");
    for (std::uint64_t told_of = shmem::QueueWaiters::kAny;;) {
        shmem::segment().queue_waiters->begin(pg::my_proc_number(), told_of);
        const Seen seen = look(request_ids, until_us);
        if (!seen.waits)
            return true;
        if (seen.own)
            refuse_to_wait("in the transaction that queued it", "It begins when the transaction commits.");
        if (IsolationUsesXactSnapshot())
            refuse_to_wait("in a transaction with a snapshot of its own",
                           "It would never see the end. Wait under READ COMMITTED.");
        if (std::exchange(told_of, seen.last) != seen.last)
            continue;
        // Looks once a second all the same: a row may have been changed by hand.
        if (!pg::wait_until(until_us, waiting))
            return false;
    }
}

// The channels of the original.
session::Channel channel_named(const char *name) {
    if (strcmp(name, "steadytext_async") == 0)
        return session::Channel::Async;
    return strcmp(name, "steadytext_queue_notify") == 0 ? session::Channel::QueueNotify : session::Channel::Queue;
}

void stop_waiting(int, Datum) { shmem::segment().queue_waiters->end(pg::my_proc_number()); }

}  // namespace

// request_type, prompt, prompts, params, priority, max_retries, callback, channel
STEADYTEXT_FUNCTION(steadytext_queue_add) {
    static pg::KeptStatement statement{
        "steadytext_queue",
        "INSERT INTO public.steadytext_queue (request_type, prompt, prompts, params, priority, max_retries, callback, "
        "user_id, session_id,"
        " user_oid, session_user_oid)"
        " VALUES ($1, $2, $3, $4, $5, coalesce($6, 3), $7, $8, $9, $10, $11) RETURNING request_id",
        SPI_OK_INSERT_RETURNING};
    constexpr Oid kTypes[] = {TEXTOID, TEXTOID, TEXTARRAYOID, JSONBOID, INT4OID, INT4OID, TEXTOID};
    constexpr int kArguments = std::size(kTypes);
    session::require_arguments("_steadytext.queue_add", fcinfo);
    refuse_if_full(session::login(), 1);
    pg::Bound values[kArguments + 4];
    for (int i = 0; i < kArguments; i++)
        values[i] = {kTypes[i], PG_ARGISNULL(i) ? static_cast<Datum>(0) : PG_GETARG_DATUM(i), PG_ARGISNULL(i)};
    refuse_if_too_large(TextDatumGetCString(values[0].value), std::span<const pg::Bound, 3>(values + 1, 3));
    if (!PG_ARGISNULL(3))
        functions::require_possible(TextDatumGetCString(values[0].value), PG_GETARG_JSONB_P(3));
    Oid callback_owner = InvalidOid;
    if (!PG_ARGISNULL(6)) {
        const pg::CallbackFunction callback = pg::callback_function(PG_GETARG_OID(6));
        values[6].value = CStringGetTextDatum(callback.name);
        callback_owner = callback.owner;
    }
    if (PG_ARGISNULL(4))
        values[4] = guc::queue_priority;
    values[kArguments] = {TEXTOID, caller_name()};
    values[kArguments + 1] = {TEXTOID, session_name()};
    values[kArguments + 2] = GetUserId();
    values[kArguments + 3] = session::login();
    SPI_connect();
    execute_as_owner(statement, values);
    bool is_null;
    if (session::my_database() == nullptr)
        ereport(WARNING, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
                          errmsg("the asynchronous call is queued, but will not be carried out for now"),
                          errdetail("More databases use pg_steadytext than the %u shared memory has rows for.",
                                    shmem::segment().databases->size()),
                          errhint("Raise steadytext.max_databases and restart the server, or drop databases.")));
    const pg_uuid_t id = *DatumGetUUIDP(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null));
    if (!PG_ARGISNULL(6))
        functions::prove_callback(id, GetUserId(), values[6].value, callback_owner);
    SPI_finish();
    functions::note_added(session::login(), 1);
    session::notify(channel_named(TextDatumGetCString(PG_GETARG_DATUM(kArguments))));
    auto *result = static_cast<pg_uuid_t *>(palloc(sizeof(pg_uuid_t)));
    *result = id;
    return UUIDPGetDatum(result);
}

STEADYTEXT_FUNCTION(steadytext_queue_cancel) {
    static pg::KeptStatement statement{
        "steadytext_queue",
        "UPDATE public.steadytext_queue SET status = 'cancelled', completed_at = pg_catalog.clock_timestamp(), "
        "worker_pid = NULL,"
        " lease_until = NULL WHERE request_id = $1 AND status IN ('pending', 'processing') AND ($3 OR user_oid = $2)"
        " RETURNING session_user_oid",
        SPI_OK_UPDATE_RETURNING};
    if (PG_ARGISNULL(0))
        return BoolGetDatum(false);
    const pg::Bound values[] = {{UUIDOID, PG_GETARG_DATUM(0)}, GetUserId(), superuser()};
    functions::note_called();
    SPI_connect();
    execute_as_owner(statement, values);
    const bool found = SPI_processed > 0;
    const Oid role = found ? role_at(0) : InvalidOid;
    SPI_finish();
    if (found) {
        functions::note_cancelled(role);
        session::notify(session::Channel::QueueDone);
    }
    return BoolGetDatum(found);
}

STEADYTEXT_FUNCTION(steadytext_queue_requeue) {
    static pg::KeptStatement statement{
        "steadytext_queue",
        "UPDATE public.steadytext_queue SET status = 'pending', run_at = pg_catalog.now(), retry_count = 0, lost_count "
        "= 0, kill_count = 0,"
        " error = NULL, started_at = NULL, completed_at = NULL, processing_time_ms = NULL, callback_error = NULL,"
        " callback_state = NULL"
        " WHERE request_id = ANY ($1) AND status IN ('failed', 'cancelled') AND user_oid IS NOT NULL AND ($3 OR "
        "user_oid = $2)"
        " RETURNING session_user_oid",
        SPI_OK_UPDATE_RETURNING};
    if (PG_ARGISNULL(0))
        return Int32GetDatum(0);
    const pg::Bound values[] = {{UUIDARRAYOID, PG_GETARG_DATUM(0)}, GetUserId(), superuser()};
    functions::note_called();
    SPI_connect();
    execute_as_owner(statement, values);
    const auto count = static_cast<std::int32_t>(SPI_processed);
    for (std::int32_t i = 0; i < count; i++) {
        refuse_if_full(role_at(i), 1);
        functions::note_added(role_at(i), 1);
    }
    SPI_finish();
    return Int32GetDatum(count);
}

STEADYTEXT_FUNCTION(steadytext_queue_look) {
    functions::note_look();  // then the worker looks at callbacks as well
    PG_RETURN_VOID();
}

// Trigger after rows were written by another way than these functions and the worker.
STEADYTEXT_FUNCTION(steadytext_queue_changed) {
    if (!CALLED_AS_TRIGGER(fcinfo))
        ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
                        errmsg("steadytext_queue_changed must be called as a trigger")));
    if (MyBackendType != B_BACKEND)
        return PointerGetDatum(nullptr);
    functions::warn_of_held();
    if (shmem::segment_attached())
        functions::note_change();
    return PointerGetDatum(nullptr);
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
    { ended = wait_for(PG_GETARG_DATUM(0), until_us); }
    PG_END_ENSURE_ERROR_CLEANUP(stop_waiting, static_cast<Datum>(0));
    stop_waiting(0, static_cast<Datum>(0));
    SPI_finish();
    return BoolGetDatum(ended);
}
