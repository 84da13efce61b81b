// What views show of the hub: on a standby its way there, on a hub the nodes that come. Regime: pg.
#include "src/pg/compat.hpp"
#include "shmem/segment.hpp"
#include "src/core/clock.hpp"
#include "src/guc.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/result_row.hpp"
#include "src/session/keeper_call.hpp"

extern "C" {
#include "access/xlog.h"
}

#include <cinttypes>

namespace {

using namespace steadytext;

pg::Column count_of(shmem::Counter counter) { return pg::number(shmem::segment().counters->sum(counter)); }

}  // namespace

STEADYTEXT_FUNCTION(steadytext_hub_nodes) {
    ReturnSetInfo *result = pg::materialize(fcinfo);
    auto *nodes = static_cast<shmem::HubNodes::Node *>(palloc(sizeof(shmem::HubNodes::Node) * shmem::HubNodes::kNodes));
    const std::uint32_t count = shmem::segment().hub_nodes->copy(MyDatabaseId, nodes);
    for (std::uint32_t i = 0; i < count; i++) {
        const shmem::HubNodes::Node &node = nodes[i];
        // Half of the number tells nodes apart. Who knows the whole number could send in the node's place.
        pg::put_row(result, {pg::words(psprintf("%08" PRIx64, node.who.node >> 32)), ObjectIdGetDatum(node.who.role),
                             pg::number(node.batch), TimestampTzGetDatum(pg::timestamp_of(node.seen_us)),
                             pg::number(node.taken), pg::number(node.refused)});
    }
    return static_cast<Datum>(0);
}

STEADYTEXT_FUNCTION(steadytext_hub_status) {
    using shmem::Counter;
    ReturnSetInfo *result = pg::materialize(fcinfo);
    const shmem::DatabaseRow *row = session::my_database();
    const std::int64_t now_us = core::monotonic_us();
    const std::int64_t answered_us = row == nullptr ? 0 : row->hub_answered_us.load();
    const std::int64_t away_since_us = row == nullptr ? 0 : row->hub_away_since_us.load();
    const std::uint32_t sqlstate = row == nullptr ? 0 : row->hub_sqlstate.load();
    pg::put_row(result, {BoolGetDatum(guc::has_hub()),
                         BoolGetDatum(row != nullptr && row->hub_connected.load()),
                         pg::time(answered_us == 0 ? 0 : core::unix_us() + answered_us - now_us),
                         {Float8GetDatum(static_cast<double>(now_us - away_since_us) / 1e6), away_since_us != 0},
                         pg::words(sqlstate == 0 ? nullptr : unpack_sql_state(static_cast<int>(sqlstate))),
                         Int32GetDatum(row == nullptr ? 0 : static_cast<std::int32_t>(row->pending_writes.load())),
                         count_of(Counter::HubSent),
                         count_of(Counter::HubRefused),
                         count_of(Counter::HubRetries),
                         count_of(Counter::CacheWritesDropped)});
    return static_cast<Datum>(0);
}
