// The hub's side of independent nodes: which hub this is and how often it was cleared, who computes what, and wishes to clear. Regime: pg.
//
// Called by the functions of sql/hub_link.sql, in sessions of nodes, which may be hostile: nothing here takes a lock that others wait for, and
// what a node keeps is bounded (shmem/hub_leases.hpp) and ends with its session. Clears are the keeper's (shmem/hub_links.hpp).
#include "src/pg/compat.hpp"
#include "shmem/hub_leases.hpp"
#include "shmem/hub_links.hpp"
#include "src/core/clock.hpp"
#include "src/core/foreign_record.hpp"
#include "src/guc.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/once.hpp"
#include "src/pg/wait.hpp"
#include "src/session/cache_clears.hpp"
#include "src/session/hub_link.hpp"
#include "src/session/keeper_call.hpp"

extern "C" {
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/array.h"
}

#include <cinttypes>

namespace {

using namespace steadytext;

shmem::HubLink &link_for(std::int32_t format) {
    (void)shmem::segment();
    if (RecoveryInProgress())
        ereport(ERROR, (errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION), errmsg("a standby is no hub")));
    if (format != core::kForeignFormat)
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("the node has another version than its hub"),
                        errhint("Install the same version on both.")));
    shmem::HubLink *link = session::hub_link();
    if (link == nullptr)
        ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
                        errmsg("more databases use pg_steadytext than shared memory has rows for"),
                        errhint("Raise steadytext.max_databases and restart the server.")));
    return *link;
}

void end_leases(int, Datum) { shmem::hub_leases().end_of(MyProcPid); }

}  // namespace

STEADYTEXT_FUNCTION(steadytext_hub_number) {
    shmem::HubLink &link = link_for(PG_GETARG_INT32(0));
    link.watched_us.store(core::monotonic_us());  // before the number is read: whoever clears later sends a message
    TupleDesc description;
    if (get_call_result_type(fcinfo, nullptr, &description) != TYPEFUNC_COMPOSITE)
        elog(ERROR, "return type must be a row type");
    Datum values[] = {CStringGetTextDatum(psprintf("%" PRIu64 "/%u", GetSystemIdentifier(), MyDatabaseId)),
                      Int64GetDatum(static_cast<std::int64_t>(shmem::hub_links().server.load())),
                      Int64GetDatum(session::clears())};
    bool nulls[3] = {};
    PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(description), values, nulls)));
}

// hub_lease(role oid, key bytea, wish int)
STEADYTEXT_FUNCTION(steadytext_hub_lease) {
    using shmem::HubLeases;
    enum Wish { Look, Compute, Failed, Answered };
    enum Verdict { NotThere = 0, Yours = 2, Others = 3 };
    (void)shmem::segment();
    const bytea *bytes = PG_GETARG_BYTEA_PP(1);
    HubLeases::What what{MyDatabaseId, PG_GETARG_OID(0), {}};
    if (VARSIZE_ANY_EXHDR(bytes) != sizeof what.key.bytes)
        PG_RETURN_INT32(NotThere);
    memcpy(what.key.bytes, VARDATA_ANY(bytes), sizeof what.key.bytes);
    const int wish = PG_GETARG_INT32(2);
    const std::int64_t now_us = core::monotonic_us();
    if (wish == Failed || wish == Answered)
        shmem::hub_leases().end(what, MyProcPid, wish == Answered, now_us);
    if (wish != Compute)
        PG_RETURN_INT32(NotThere);
    pg::once([] { on_shmem_exit(end_leases, static_cast<Datum>(0)); });
    switch (shmem::hub_leases().claim(what, MyProcPid, now_us)) {
    case HubLeases::Verdict::Mine:
        PG_RETURN_INT32(Yours);
    case HubLeases::Verdict::Others:
        PG_RETURN_INT32(Others);
    case HubLeases::Verdict::NoRoom:
        break;
    }
    PG_RETURN_INT32(NotThere);
}

// hub_wish(format int, roles oid[]): waits for the keeper, as steadytext_frecency_refresh() does.
STEADYTEXT_FUNCTION(steadytext_hub_wish) {
    static pg::WaitEvent waiting("SteadytextRefresh");
    constexpr std::int64_t kLongestUs = 8'000'000;  // the node loses patience, too
    constexpr std::int64_t kLookAgainUs = 10'000;
    shmem::HubLink &link = link_for(PG_GETARG_INT32(0));
    ArrayType *roles = PG_GETARG_ARRAYTYPE_P(1);
    const auto count = static_cast<std::size_t>(ArrayGetNItems(ARR_NDIM(roles), ARR_DIMS(roles)));
    if (count == 0)
        PG_RETURN_INT64(session::clears());
    const std::uint64_t mine = link.wish(reinterpret_cast<const std::uint32_t *>(ARR_DATA_PTR(roles)), count);
    const std::int64_t end_us = core::monotonic_us() + kLongestUs;
    while (link.wishes_done.load(std::memory_order_acquire) < mine) {
        if (core::monotonic_us() >= end_us)
            ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                            errmsg("the hub's keeper could not clear the cache")));
        session::wake_keeper(*session::my_database());
        (void)pg::wait_until(core::monotonic_us() + kLookAgainUs, waiting);
    }
    PG_RETURN_INT64(session::clears());
}

STEADYTEXT_FUNCTION(steadytext_hub_links) {
    ReturnSetInfo *result = pg::materialize(fcinfo);
    (void)shmem::segment();
    const shmem::HubLink *link = session::hub_link();
    if (link == nullptr)
        return static_cast<Datum>(0);
    const bool is_node = session::node_link() != nullptr;
    const auto count = [](const std::atomic<std::uint64_t> &of) {
        return Int64GetDatum(static_cast<std::int64_t>(of.load()));
    };
    Datum values[] = {CStringGetTextDatum(is_node                                                ? "node"
                                          : link->is_self_until_us.load() > core::monotonic_us() ? "hub"
                                                                                                 : "alone"),
                      Float8GetDatum(static_cast<double>(core::monotonic_us() - link->current_as_of_us.load()) / 1e3),
                      Int64GetDatum(link->heard.load()),
                      Int32GetDatum(static_cast<std::int32_t>(link->pending.load())),
                      count(link->asked),
                      count(link->found),
                      count(link->led),
                      count(link->late),
                      count(link->waited),
                      count(link->forgotten),
                      count(link->dropped)};
    bool nulls[11] = {};
    nulls[1] = !is_node || link->current_as_of_us.load() == 0;
    nulls[2] = !is_node || link->heard.load() < 0;
    tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
    return static_cast<Datum>(0);
}
