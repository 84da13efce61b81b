// steadytext_metrics(): counters and gauges of the whole server, by name. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/pg/boundary.hpp"
#include "shmem/segment.hpp"

extern "C" {
#include "utils/json.h"
#include "utils/jsonb.h"
}

namespace {

using namespace steadytext;

class Metrics {
public:
    explicit Metrics(FunctionCallInfo fcinfo) : result_(pg::materialize(fcinfo)) {
        no_labels_ = DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"));
    }

    void add(const char *name, double value) { add(name, no_labels_, value); }
    // `daemon`: the endpoint, as the only label.
    void add(const char *name, const char *daemon, double value) {
        StringInfoData text;
        initStringInfo(&text);
        appendStringInfoString(&text, "{\"daemon\": ");
        escape_json(&text, daemon);
        appendStringInfoChar(&text, '}');
        add(name, DirectFunctionCall1(jsonb_in, CStringGetDatum(text.data)), value);
    }

private:
    void add(const char *name, Datum labels, double value) {
        Datum values[3] = {CStringGetTextDatum(psprintf("steadytext_%s", name)), labels, Float8GetDatum(value)};
        bool nulls[3] = {};
        tuplestore_putvalues(result_->setResult, result_->setDesc, values, nulls);
    }

    ReturnSetInfo *result_;
    Datum no_labels_;
};

void add_daemons(Metrics &metrics) {
    double connections = 0;
    for (const shmem::DaemonRow &row : shmem::segment().daemons->rows) {
        shmem::DaemonIdentity identity;
        if (row.state.load() == shmem::DaemonState::Absent || !row.identity.load(identity))
            continue;
        metrics.add("daemon_requests_total", identity.endpoint, static_cast<double>(row.requests.load()));
        metrics.add("daemon_failures_total", identity.endpoint, static_cast<double>(row.failures.load()));
        metrics.add("daemon_in_flight", identity.endpoint, row.in_flight.load());
        metrics.add("daemon_up", identity.endpoint, row.state.load() == shmem::DaemonState::Ready);
        connections += row.connections.load();
    }
    metrics.add("daemon_connections_active", connections);
}

}  // namespace

STEADYTEXT_FUNCTION(steadytext_metrics) {
    const shmem::Segment &segment = shmem::segment();
    Metrics metrics(fcinfo);
    for (std::size_t i = 0; i < shmem::kCounterCount; i++)
        metrics.add(shmem::kCounterNames[i],
                    static_cast<double>(segment.counters->sum(static_cast<shmem::Counter>(i))));
    metrics.add("slots", segment.slots->size());
    metrics.add("slots_in_use", segment.slots->in_use());
    metrics.add("payload_bytes", static_cast<double>(segment.payloads->chunk_count()) * shmem::PayloadPool::kChunkBytes);
    metrics.add("payload_bytes_in_use",
                static_cast<double>(segment.payloads->chunks_in_use()) * shmem::PayloadPool::kChunkBytes);
    metrics.add("gateway_starts_total", static_cast<double>(segment.header->gateway.starts.load()));
    metrics.add("embedded_daemon_starts_total", segment.header->embedded.starts.load());
    add_daemons(metrics);
    return static_cast<Datum>(0);
}
