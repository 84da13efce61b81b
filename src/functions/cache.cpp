// The cache's functions that need shared memory: the trigger that forgets, refresh and its status, lookups. Regime: pg.
//
// All else about the cache is SQL (sql/cache.sql, sql/eviction.sql).
#include "src/pg/compat.hpp"
#include "shmem/segment.hpp"
#include "src/core/clock.hpp"
#include "src/guc.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/result_row.hpp"
#include "src/pg/cache_lock.hpp"
#include "src/pg/once.hpp"
#include "src/pg/own_table.hpp"
#include "src/pg/wait.hpp"
#include "src/session/answer_cache.hpp"
#include "src/session/cache_clears.hpp"
#include "src/session/hub_link.hpp"
#include "src/session/keeper_call.hpp"

extern "C" {
#include "access/xact.h"
#include "access/xlog.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/rel.h"
}

using namespace steadytext;

namespace {

constexpr std::int64_t kLookAgainUs = 1'000'000;

bool quietly = false;  // the deleted rows may go on being answered from shared memory
bool forget_at_commit = false;

// Between a change and its commit another session may have read the row and brought it back to shared memory, so the
// commit forgets again. This process would not see the commit of a prepared transaction, so PREPARE is refused.
void at_end(XactEvent event, void *) {
    if (event == XACT_EVENT_COMMIT && forget_at_commit)
        session::forget_cached();
    if (event == XACT_EVENT_PRE_PREPARE && forget_at_commit)
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("cannot PREPARE a transaction that has changed steadytext_cache")));
    if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
        quietly = forget_at_commit = false;
    if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT)
        session::note_clear_over(event == XACT_EVENT_COMMIT);
}

void watch_transactions() {
    pg::once([] { RegisterXactCallback(at_end, nullptr); });
}

void forget_now_and_at_commit() {
    watch_transactions();
    session::note_clearing();
    session::forget_cached();
    session::announce_clear();
    forget_at_commit = true;
}

// Warns that shared memory has no row for this database.
void warn_of_many_databases() {
    ereport(WARNING,
            (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED), errmsg("the cache of this database is not kept up"),
             errdetail("More databases use pg_steadytext than the %u shared memory has rows for.",
                       shmem::segment().databases->size()),
             errhint("Raise steadytext.max_databases and restart the server, or drop databases.")));
}

}  // namespace

STEADYTEXT_FUNCTION(steadytext_cache_changed) {
    if (!CALLED_AS_TRIGGER(fcinfo))
        ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
                        errmsg("steadytext_cache_changed must be called as a trigger")));
    // Without the library there is nothing to forget; a restore or an upgrade may run so.
    const auto *trigger = reinterpret_cast<TriggerData *>(fcinfo->context);
    if (!shmem::segment_attached() || quietly)
        return PointerGetDatum(nullptr);
    if (TRIGGER_FIRED_BEFORE(trigger->tg_event))
        pg::lock_cache_for_clearing(RelationGetRelid(trigger->tg_relation));
    else
        forget_now_and_at_commit();
    return PointerGetDatum(nullptr);
}

// Called before rows are inserted by any role but the keeper's. Until the transaction ends the keeper writes none, so
// no row comes that _steadytext.make_room() has not found.
STEADYTEXT_FUNCTION(steadytext_keep_keeper_out) {
    if (!CALLED_AS_TRIGGER(fcinfo))
        ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
                        errmsg("steadytext_keep_keeper_out must be called as a trigger")));
    pg::lock_cache_for_clearing(RelationGetRelid(reinterpret_cast<TriggerData *>(fcinfo->context)->tg_relation));
    return PointerGetDatum(nullptr);
}

// Called before a statement that clears the cache. The statement then sees, and deletes, every row that the keeper has
// written, and the keeper writes no older row afterwards.
STEADYTEXT_FUNCTION(steadytext_cache_hold) {
    const Oid table = pg::own_table("steadytext_cache");
    if (!OidIsValid(table) || !shmem::segment_attached())
        PG_RETURN_VOID();
    if (pg_class_aclcheck(table, GetUserId(), ACL_DELETE) != ACLCHECK_OK)
        aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, "steadytext_cache");
    if (RecoveryInProgress())
        ereport(ERROR,
                (errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION), errmsg("a standby's cache is cleared by its primary")));
    LockRelationOid(table, RowExclusiveLock);
    pg::lock_cache_for_clearing(table);
    forget_now_and_at_commit();
    PG_RETURN_VOID();
}

STEADYTEXT_FUNCTION(steadytext_cache_quietly) {
    watch_transactions();
    quietly = PG_GETARG_BOOL(0);
    PG_RETURN_VOID();
}

STEADYTEXT_FUNCTION(steadytext_frecency_refresh) {
    static pg::WaitEvent waiting("SteadytextRefresh");
    if (RecoveryInProgress())
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("a standby's cache is refreshed by its primary")));
    shmem::DatabaseRow *found = session::my_database();
    if (found == nullptr) {
        warn_of_many_databases();
        PG_RETURN_INT64(0);
    }
    shmem::DatabaseRow &row = *found;
    const std::uint64_t mine = row.refreshes_wanted.fetch_add(1) + 1;
    const std::uint32_t failures = row.keeper_failures.load();
    session::wake_keeper(row);
    while (row.refreshes_done.load(std::memory_order_acquire) < mine) {
        if (!guc::keeper)
            ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                            errmsg("the cache is not refreshed while the keeper is switched off"),
                            errhint("ALTER SYSTEM SET steadytext.keeper = on, then SELECT pg_reload_conf().")));
        if (row.keeper_failures.load() > failures)
            ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                            errmsg("the keeper could not refresh the cache"), errhint("The server log says why.")));
        (void)pg::wait_until(core::monotonic_us() + kLookAgainUs, waiting);
        session::wake_keeper(row);  // a keeper that was leaving may not have seen the wish
    }
    PG_RETURN_INT64(row.rows_refreshed.load());
}

STEADYTEXT_FUNCTION(steadytext_frecency_status) {
    ReturnSetInfo *result = pg::materialize(fcinfo);
    const shmem::DatabaseRow *mine = session::my_database();
    if (mine == nullptr)
        return static_cast<Datum>(0);
    const shmem::DatabaseRow &row = *mine;
    const std::int64_t refreshed_us = row.refreshed_us.load();
    const std::int64_t lag_us = core::monotonic_us() - refreshed_us;
    const bool is_known = row.refresh_took_us.load() != 0;
    pg::put_row(result, {{TimestampTzGetDatum(GetCurrentTimestamp() - lag_us), is_known},
                         {Float8GetDatum(static_cast<double>(lag_us) / 1e6), is_known},
                         {Float8GetDatum(static_cast<double>(row.refresh_took_us.load()) / 1e3), is_known},
                         {Int64GetDatum(row.rows_refreshed.load()), is_known},
                         pg::number(static_cast<std::int64_t>(row.hits() - row.hits_refreshed.load())),
                         Int32GetDatum(static_cast<int32>(row.pending_writes.load()))});
    return static_cast<Datum>(0);
}

STEADYTEXT_FUNCTION(steadytext_cache_lookups) {
    const shmem::DatabaseRow *row = session::my_database();
    TupleDesc description;
    if (get_call_result_type(fcinfo, nullptr, &description) != TYPEFUNC_COMPOSITE)
        elog(ERROR, "return type must be a row type");
    Datum values[2] = {Int64GetDatum(row == nullptr ? 0 : static_cast<int64>(row->hits())),
                       Int64GetDatum(row == nullptr ? 0 : static_cast<int64>(row->misses()))};
    bool nulls[2] = {};
    PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(description), values, nulls)));
}
