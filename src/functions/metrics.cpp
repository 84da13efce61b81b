// steadytext_metrics(), steadytext_response_times(), pg_stat_steadytext and steadytext_stat_reset(): the server's
// counts. Regime: pg, with C++ only inside guarded().
#include "src/pg/compat.hpp"
#include "src/core/clock.hpp"
#include "src/core/json_text.hpp"
#include "src/guc.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/shown_text.hpp"
#include "src/pg/time.hpp"
#include "src/session/audit.hpp"
#include "shmem/metrics.hpp"
#include "shmem/answer_counts.hpp"
#include "shmem/prompt_sizes.hpp"
#include "shmem/segment.hpp"

extern "C" {
#include "utils/jsonb.h"
}

#include <algorithm>
#include <string>

namespace {

using namespace steadytext;

// The samples of this call, in a buffer that no error can leak.
std::vector<shmem::MetricSample> &gather() {
    static auto *samples = new std::vector<shmem::MetricSample>;
    const shmem::Segment &segment = shmem::segment();
    pg::guarded([&](core::Problem &) {
        *samples = shmem::gather_metrics(segment, guc::breaker_settings());
        return true;
    });
    return *samples;
}

Datum labels_of(const shmem::MetricSample &sample) {
    static std::string *json = new std::string;
    pg::guarded([&](core::Problem &) {
        json->clear();
        core::JsonObject object(*json, core::Escape::Utf8);
        for (const auto &[name, value] : sample.labels)
            object.add(name, value);
        object.close();
        return true;
    });
    return DirectFunctionCall1(jsonb_in, CStringGetDatum(pg::shown_cstring(*json)));
}

void put(ReturnSetInfo *result, Datum *values, bool *nulls) {
    tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

// Latest first, and at most as many as documented (kShown).
std::size_t latest_calls(shmem::RecentCall *calls) {
    const std::size_t count = shmem::segment().recent_calls->copy(calls);
    const std::size_t shown = std::min(count, shmem::RecentCalls::kShown);
    std::partial_sort(calls, calls + shown, calls + count, [](const shmem::RecentCall &a, const shmem::RecentCall &b) {
        return a.finished_us > b.finished_us;
    });
    return shown;
}

void put_statement(ReturnSetInfo *result, const shmem::StatementStats::Entry &entry) {
    const shmem::StatementCounts &counts = entry.counts;
    const auto milliseconds = [](double us) { return Float8GetDatum(us / 1000); };
    const auto number = [](std::uint64_t value) { return Int64GetDatum(static_cast<std::int64_t>(value)); };
    Datum values[] = {
        ObjectIdGetDatum(entry.key.role),
        ObjectIdGetDatum(entry.key.database),
        number(entry.key.query_id),
        pg::shown_text(entry.key.model),
        CStringGetTextDatum(shmem::name_of(entry.key.kind)),
        number(counts.calls),
        number(counts.hits),
        number(counts.failures),
        number(counts.limited),
        milliseconds(static_cast<double>(counts.total_us)),
        milliseconds(static_cast<double>(counts.min_us)),
        milliseconds(static_cast<double>(counts.max_us)),
        milliseconds(static_cast<double>(counts.total_us) /
                     static_cast<double>(std::max<std::uint64_t>(counts.calls, 1))),
        number(counts.prompt_tokens),
        number(counts.completion_tokens),
        number(counts.saved_tokens),
    };
    bool nulls[std::size(values)] = {};
    nulls[2] = entry.key.query_id == 0;
    nulls[3] = entry.key.model[0] == '\0';
    put(result, values, nulls);
}

}  // namespace

STEADYTEXT_FUNCTION(steadytext_metrics) {
    ReturnSetInfo *result = pg::materialize(fcinfo);
    for (const shmem::MetricSample &sample : gather()) {
        Datum values[] = {CStringGetTextDatum(psprintf("steadytext_%s%s", sample.family->name, sample.suffix)),
                          labels_of(sample), Float8GetDatum(sample.value)};
        bool nulls[std::size(values)] = {};
        put(result, values, nulls);
    }
    return static_cast<Datum>(0);
}

STEADYTEXT_FUNCTION(steadytext_prometheus) {
    static std::string *exposition = new std::string;
    const std::vector<shmem::MetricSample> &samples = gather();
    pg::guarded([&](core::Problem &) {
        exposition->clear();
        shmem::write_prometheus(samples, *exposition);
        return true;
    });
    return pg::shown_text(*exposition);
}

STEADYTEXT_FUNCTION(steadytext_response_times) {
    ReturnSetInfo *result = pg::materialize(fcinfo);
    auto *calls = static_cast<shmem::RecentCall *>(palloc(sizeof(shmem::RecentCall) * (shmem::RecentCalls::kMost + 1)));
    const std::size_t count = latest_calls(calls);
    const std::int64_t since_1970_us = core::unix_us() - core::monotonic_us();
    for (std::size_t i = 0; i < count; i++) {
        const shmem::RecentCall &call = calls[i];
        Datum values[] = {TimestampTzGetDatum(pg::timestamp_of(call.finished_us + since_1970_us)),
                          CStringGetTextDatum(shmem::name_of(call.kind)),
                          Float8GetDatum(static_cast<double>(call.took_us) / 1000), BoolGetDatum(call.success)};
        bool nulls[std::size(values)] = {};
        put(result, values, nulls);
    }
    return static_cast<Datum>(0);
}

STEADYTEXT_FUNCTION(steadytext_stat_statements) {
    ReturnSetInfo *result = pg::materialize(fcinfo);
    shmem::StatementStats &statements = *shmem::segment().statements;
    shmem::StatementStats::Entry entries[shmem::StatementStats::kWays];
    for (std::uint32_t set = 0; set < statements.sets(); set++) {
        const std::uint32_t count = statements.copy(set, entries);
        for (std::uint32_t i = 0; i < count; i++)
            put_statement(result, entries[i]);
    }
    return static_cast<Datum>(0);
}

STEADYTEXT_FUNCTION(steadytext_stat_reset) {
    const shmem::Segment &segment = shmem::segment();
    segment.calls->reset();
    segment.counters->reset();
    segment.statements->reset();
    segment.recent_calls->reset();
    shmem::answer_counts().reset();
    shmem::prompt_sizes().reset();
    session::note_server_action("steadytext_stat_reset", {});
    PG_RETURN_VOID();
}
