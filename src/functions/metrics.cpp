// steadytext_metrics(), steadytext_response_times(), pg_stat_steadytext and steadytext_stat_reset(): the server's
// counts. Regime: pg, with C++ only inside guarded().
#include "src/pg/compat.hpp"
#include "src/core/clock.hpp"
#include "src/core/json_text.hpp"
#include "src/guc.hpp"
#include "src/pg/written.hpp"
#include "src/pg/result_row.hpp"
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
    pg::guarded([&] { *samples = shmem::gather_metrics(segment, guc::breaker_settings()); });
    return *samples;
}

Datum labels_of(const shmem::MetricSample &sample) {
    const std::string_view json = pg::written_json(core::Escape::Utf8, [&](core::JsonObject &object) {
        for (const auto &[name, value] : sample.labels)
            object.add(name, value);
    });
    return DirectFunctionCall1(jsonb_in, CStringGetDatum(pg::shown_cstring(json)));
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
    const auto total_us = static_cast<double>(counts.total_us);
    pg::put_row(result, {ObjectIdGetDatum(entry.key.role),
                         ObjectIdGetDatum(entry.key.database),
                         {Int64GetDatum(static_cast<std::int64_t>(entry.key.query_id)), entry.key.query_id != 0},
                         pg::shown(entry.key.model),
                         pg::words(shmem::name_of(entry.key.kind)),
                         pg::number(counts.calls),
                         pg::number(counts.hits),
                         pg::number(counts.failures),
                         pg::number(counts.limited),
                         pg::milliseconds(total_us),
                         pg::milliseconds(static_cast<double>(counts.min_us)),
                         pg::milliseconds(static_cast<double>(counts.max_us)),
                         pg::milliseconds(total_us / static_cast<double>(std::max<std::uint64_t>(counts.calls, 1))),
                         pg::number(counts.prompt_tokens),
                         pg::number(counts.completion_tokens),
                         pg::number(counts.saved_tokens)});
}

}  // namespace

STEADYTEXT_FUNCTION(steadytext_metrics) {
    ReturnSetInfo *result = pg::materialize(fcinfo);
    for (const shmem::MetricSample &sample : gather())
        pg::put_row(result, {pg::words(psprintf("steadytext_%s%s", sample.family->name, sample.suffix)),
                             labels_of(sample), Float8GetDatum(sample.value)});
    return static_cast<Datum>(0);
}

STEADYTEXT_FUNCTION(steadytext_prometheus) {
    const std::vector<shmem::MetricSample> &samples = gather();
    return pg::shown_text(pg::written([&](std::string &out) { shmem::write_prometheus(samples, out); }));
}

STEADYTEXT_FUNCTION(steadytext_response_times) {
    ReturnSetInfo *result = pg::materialize(fcinfo);
    auto *calls = static_cast<shmem::RecentCall *>(palloc(sizeof(shmem::RecentCall) * (shmem::RecentCalls::kMost + 1)));
    const std::size_t count = latest_calls(calls);
    const std::int64_t since_1970_us = core::unix_us() - core::monotonic_us();
    for (std::size_t i = 0; i < count; i++) {
        const shmem::RecentCall &call = calls[i];
        pg::put_row(result, {TimestampTzGetDatum(pg::timestamp_of(call.finished_us + since_1970_us)),
                             pg::words(shmem::name_of(call.kind)), pg::milliseconds(static_cast<double>(call.took_us)),
                             BoolGetDatum(call.success)});
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
