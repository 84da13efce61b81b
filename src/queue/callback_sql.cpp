// The statements: see callback_sql.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/queue/callback_sql.hpp"
#include "shmem/segment.hpp"
#include "src/pg/as_owner.hpp"
#include "src/pg/own_table.hpp"
#include "src/pg/text.hpp"
#include "src/pg/time.hpp"

extern "C" {
#include "catalog/pg_type.h"
#include "executor/spi.h"
}

namespace steadytext::queue {

namespace {

constexpr const char *kNextRole = R"(
    SELECT user_oid, coalesce(session_user_oid, user_oid) FROM public.steadytext_queue
    WHERE callback_state IN ('due', 'running') AND user_oid > $1 ORDER BY user_oid, id LIMIT 1)";

constexpr const char *kFirstDue = R"(
    SELECT id FROM public.steadytext_queue WHERE callback_state = 'due' AND user_oid = $1 ORDER BY id LIMIT 1)";

constexpr const char *kRefuse = R"(
    UPDATE public.steadytext_queue SET callback_state = 'failed', callback_error = $2, callback_pid = NULL
    WHERE id IN (SELECT id FROM public.steadytext_queue WHERE user_oid = $1 AND callback_state IN ('due', 'running') ORDER BY id LIMIT 1000
                 FOR UPDATE SKIP LOCKED))";

// $2: the deadline; $3: when shared memory was made: a worker that began before was ended by a crash; $4: the most
// tries.
constexpr const char *kSettle = R"(
    UPDATE public.steadytext_queue q SET callback_pid = NULL,
        callback_state = CASE WHEN d.failure IS NULL THEN 'due' ELSE 'failed' END, callback_error = d.failure
    FROM (SELECT id AS lost, CASE
              WHEN callback_began >= $3 AND callback_began + $2 * interval '1 millisecond' <= clock_timestamp()
                  THEN '57014: it took longer than ' || $2 || ' ms'
              WHEN callback_tries >= $4 THEN '57P01: its worker was ended again and again' END AS failure
          FROM public.steadytext_queue WHERE user_oid = $1 AND callback_state = 'running' FOR UPDATE SKIP LOCKED) d
    WHERE q.id = d.lost)";

// The function comes from the role's own request; null: the role did not ask for it.
constexpr const char *kClaim = R"(
    WITH claimed AS (
    UPDATE public.steadytext_queue q
    SET callback_state = 'running', callback_pid = $2, callback_began = clock_timestamp(), callback_tries = callback_tries + 1
    WHERE id = (SELECT id FROM public.steadytext_queue WHERE user_oid = $1 AND callback_state = 'due' ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING id, request_id, session_user_oid)
    SELECT q.id, q.request_id, c.callback, c.owner, q.session_user_oid
    FROM claimed q LEFT JOIN _steadytext.queue_callbacks c ON c.request_id = q.request_id AND c.role = $1)";

constexpr const char *kEnd = R"(
    UPDATE public.steadytext_queue
    SET callback_state = CASE WHEN $3 IS NULL THEN 'done' ELSE 'failed' END, callback_error = $3, callback_pid = NULL
    WHERE id = $1 AND callback_state = 'running' AND callback_pid = $2)";

// Returns the number of rows; a result is in SPI_tuptable.
template <std::size_t Count>
std::uint64_t run(const char *statement, const Oid (&types)[Count], const Datum (&values)[Count],
                  const char *nulls = nullptr) {
    if (!OidIsValid(pg::lock_own_table("steadytext_queue")))
        return 0;
    const pg::Caller caller = pg::begin_as_owner();
    const int result = SPI_execute_with_args(statement, static_cast<int>(Count), const_cast<Oid *>(types),
                                             const_cast<Datum *>(values), nulls, false, 0);
    pg::end_as_owner(caller);
    if (result < 0)
        elog(ERROR, "a statement about callbacks failed: %s", SPI_result_code_string(result));
    return SPI_processed;
}

}  // namespace

CallbackRole next_callback_role(Oid last) {
    const Oid types[] = {OIDOID};
    const Datum values[] = {ObjectIdGetDatum(last)};
    bool is_null;
    if (run(kNextRole, types, values) == 0)
        return {};
    return {DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null)),
            DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &is_null))};
}

std::int64_t first_due_callback(Oid role) {
    const Oid types[] = {OIDOID};
    const Datum values[] = {ObjectIdGetDatum(role)};
    bool is_null;
    return run(kFirstDue, types, values) == 0
               ? 0
               : DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null));
}

void refuse_callbacks(Oid role, const char *reason) {
    const Oid types[] = {OIDOID, TEXTOID};
    const Datum values[] = {ObjectIdGetDatum(role), CStringGetTextDatum(reason)};
    (void)run(kRefuse, types, values);
}

void settle_callbacks(Oid role, int deadline_ms) {
    const Oid types[] = {OIDOID, INT4OID, TIMESTAMPTZOID, INT4OID};
    const Datum values[] = {ObjectIdGetDatum(role), Int32GetDatum(deadline_ms),
                            TimestampTzGetDatum(pg::timestamp_of(shmem::segment().header->made_unix_us)),
                            Int32GetDatum(kMaxCallbackTries)};
    (void)run(kSettle, types, values);
}

bool claim_callback(Oid role, DueCallback &callback) {
    const Oid types[] = {OIDOID, INT4OID};
    const Datum values[] = {ObjectIdGetDatum(role), Int32GetDatum(MyProcPid)};
    if (run(kClaim, types, values) == 0)
        return false;
    HeapTuple row = SPI_tuptable->vals[0];
    bool is_null;
    callback.id = DatumGetInt64(SPI_getbinval(row, SPI_tuptable->tupdesc, 1, &is_null));
    callback.request = *DatumGetUUIDP(SPI_getbinval(row, SPI_tuptable->tupdesc, 2, &is_null));
    callback.function = SPI_getvalue(row, SPI_tuptable->tupdesc, 3);
    const Datum owner = SPI_getbinval(row, SPI_tuptable->tupdesc, 4, &is_null);
    callback.owner = is_null ? InvalidOid : DatumGetObjectId(owner);
    const Datum login = SPI_getbinval(row, SPI_tuptable->tupdesc, 5, &is_null);
    callback.login = is_null ? role : DatumGetObjectId(login);
    return true;
}

void end_callback(std::int64_t id, const char *error) {
    const Oid types[] = {INT8OID, INT4OID, TEXTOID};
    const Datum values[] = {Int64GetDatum(id), Int32GetDatum(MyProcPid),
                            error == nullptr ? static_cast<Datum>(0) : CStringGetTextDatum(error)};
    if (run(kEnd, types, values, error == nullptr ? "  n" : nullptr) == 0)
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("the callback was taken away from its worker")));
}

}  // namespace steadytext::queue
