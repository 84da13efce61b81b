// Gathers the metrics and writes them as text: see metrics.hpp. Regime: pure.
#include "shmem/metrics.hpp"

#include "shmem/segment.hpp"
#include "src/core/clock.hpp"
#include "src/core/json_text.hpp"

#include <algorithm>
#include <charconv>

namespace steadytext::shmem {

namespace {

using Labels = std::vector<std::pair<const char *, std::string>>;
using Counts = CallCounts<std::uint64_t>;

class Gatherer {
public:
    explicit Gatherer(std::vector<MetricSample> &samples) : samples_(samples) {}

    void add(const MetricFamily &family, double value, Labels labels = {}, const char *suffix = "") {
        samples_.push_back({&family, suffix, std::move(labels), value});
    }
    void add(const MetricFamily &family, std::uint64_t value, Labels labels = {}) {
        add(family, static_cast<double>(value), std::move(labels));
    }

    // Prometheus counts a bucket's and all shorter times together.
    void add(const MetricFamily &family, const TimeCounts<std::uint64_t> &times, const Labels &labels) {
        std::uint64_t count = 0;
        for (std::size_t i = 0; i < kTimeBuckets; i++) {
            count += times.buckets[i];
            Labels bucket = labels;
            bucket.emplace_back("le", i < kTimeBounds.size() ? seconds(kTimeBounds[i]) : "+Inf");
            add(family, static_cast<double>(count), std::move(bucket), "_bucket");
        }
        add(family, static_cast<double>(times.total_us) / 1e6, labels, "_sum");
        add(family, static_cast<double>(count), labels, "_count");
    }

private:
    static std::string seconds(std::int64_t us) {
        char digits[32];
        const auto end = std::to_chars(digits, digits + sizeof digits, static_cast<double>(us) / 1e6).ptr;
        return {digits, end};
    }

    std::vector<MetricSample> &samples_;
};

// ---- calls ---------------------------------------------------------------------------------------------------------

constexpr MetricFamily kRequests = {"requests_total", "counter", "Calls that ended, whatever became of them."};
constexpr MetricFamily kRequestsFailed = {"requests_failed_total", "counter",
                                          "Calls that got no real answer; fallbacks count."};
constexpr MetricFamily kOutcomes = {"outcomes_total", "counter",
                                    "Calls by how they ended; their sum is requests_total."};
constexpr MetricFamily kSent = {"sent_total", "counter", "Calls given to a daemon by what came of it."};
constexpr MetricFamily kFailures = {"failures_total", "counter", "Calls without a real answer by cause."};
constexpr MetricFamily kFallbacks = {"fallbacks_total", "counter",
                                     "Calls that returned something else instead of an answer."};
constexpr MetricFamily kPromptTokens = {"prompt_tokens_total", "counter", "Tokens daemons read."};
constexpr MetricFamily kCompletionTokens = {"completion_tokens_total", "counter", "Tokens daemons made."};
constexpr MetricFamily kSavedTokens = {"saved_tokens_total", "counter",
                                       "Tokens that need not be made again: of cached and shared answers."};
constexpr MetricFamily kCacheHits = {"cache_hits_total", "counter", "Calls answered from the cache."};
constexpr MetricFamily kCacheLookups = {"cache_lookups_total", "counter", "Looks into the cache by level and result."};
constexpr MetricFamily kResponseTime = {"response_time_seconds", "histogram",
                                        "How long calls took, cached ones included."};
constexpr MetricFamily kStageTime = {"stage_time_seconds", "histogram", "Where the time of answered requests went."};

// A sample of the family for each operation.
template <class Number>
void add_by_operation(Gatherer &to, const MetricFamily &family, const CallTotals &totals, Number number) {
    for (std::size_t kind = 0; kind < kCallKinds; kind++)
        to.add(family, number(totals.kinds[kind]), {{"operation", kCallKindNames[kind]}});
}

// A sample for each operation and each of `names`.
template <std::size_t Count, class Number>
void add_by_operation(Gatherer &to, const MetricFamily &family, const CallTotals &totals, const char *label,
                      const char *const (&names)[Count], Number number) {
    for (std::size_t kind = 0; kind < kCallKinds; kind++)
        for (std::size_t i = 0; i < Count; i++)
            to.add(family, number(totals.kinds[kind], i), {{"operation", kCallKindNames[kind]}, {label, names[i]}});
}

template <class Number>
std::uint64_t sum_of_kinds(const CallTotals &totals, Number number) {
    std::uint64_t sum = 0;
    for (const Counts &counts : totals.kinds)
        sum += number(counts);
    return sum;
}

void add_outcomes(Gatherer &to, const CallTotals &totals) {
    for (std::size_t kind = 0; kind < kCallKinds; kind++) {
        const Counts &counts = totals.kinds[kind];
        const char *operation = kCallKindNames[kind];
        for (std::size_t i = 0; i < kCallOutcomes && !was_sent(static_cast<CallOutcome>(i)); i++)
            to.add(kOutcomes, counts.outcomes[i], {{"operation", operation}, {"outcome", kCallOutcomeNames[i]}});
        to.add(kOutcomes, counts.sent(), {{"operation", operation}, {"outcome", "sent"}});
    }
    for (std::size_t kind = 0; kind < kCallKinds; kind++)
        for (std::size_t i = static_cast<std::size_t>(CallOutcome::Ok); i < kCallOutcomes; i++)
            to.add(kSent, totals.kinds[kind].outcomes[i],
                   {{"operation", kCallKindNames[kind]}, {"result", kCallOutcomeNames[i]}});
}

void add_calls(Gatherer &to, const CallTotals &totals) {
    to.add(kRequests, sum_of_kinds(totals, [](const Counts &counts) { return counts.requests(); }));
    to.add(kRequestsFailed, sum_of_kinds(totals, [](const Counts &counts) { return counts.failed(); }));
    add_outcomes(to, totals);
    add_by_operation(to, kFailures, totals, "cause", kFailureCauseNames,
                     [](const Counts &counts, std::size_t cause) { return counts.failures[cause]; });
    add_by_operation(to, kFallbacks, totals, [](const Counts &counts) { return counts.fallbacks; });
    add_by_operation(to, kPromptTokens, totals, [](const Counts &counts) { return counts.prompt_tokens; });
    add_by_operation(to, kCompletionTokens, totals, [](const Counts &counts) { return counts.completion_tokens; });
    add_by_operation(to, kSavedTokens, totals, [](const Counts &counts) { return counts.saved_tokens; });
    std::uint64_t hits = 0;
    for (const std::uint64_t level : totals.hits)
        hits += level;
    to.add(kCacheHits, hits);
    for (std::size_t level = 0; level < kCacheLevels; level++) {
        to.add(kCacheLookups, totals.hits[level], {{"level", kCacheLevelNames[level]}, {"result", "hit"}});
        to.add(kCacheLookups, totals.misses[level], {{"level", kCacheLevelNames[level]}, {"result", "miss"}});
    }
    for (std::size_t kind = 0; kind < kCallKinds; kind++)
        for (const std::size_t cached : {0, 1})
            to.add(kResponseTime, totals.kinds[kind].response_times[cached],
                   {{"operation", kCallKindNames[kind]}, {"cached", cached ? "true" : "false"}});
    for (std::size_t kind = 0; kind < kCallKinds; kind++)
        for (std::size_t stage = 0; stage < kCallStages; stage++)
            to.add(kStageTime, totals.kinds[kind].stages[stage],
                   {{"operation", kCallKindNames[kind]}, {"stage", kCallStageNames[stage]}});
}

// ---- single events -------------------------------------------------------------------------------------------------

struct EventFamilies {
    MetricFamily of[kCounterCount];
    constexpr EventFamilies() : of() {
        for (std::size_t i = 0; i < kCounterCount; i++)
            of[i] = {kCounterTexts[i].name, "counter", kCounterTexts[i].help};
    }
};
constexpr EventFamilies kEvents;

void add_events(Gatherer &to, const Counters &counters) {
    for (std::size_t i = 0; i < kCounterCount; i++)
        to.add(kEvents.of[i], counters.sum(static_cast<Counter>(i)));
}

// ---- memory and workers --------------------------------------------------------------------------------------------

constexpr MetricFamily kInfo = {"info", "gauge", "Always 1; its label names the version of the loaded library."};
constexpr MetricFamily kSlots = {"slots", "gauge", "Requests that can be under way at once (steadytext.max_requests)."};
constexpr MetricFamily kSlotsInUse = {"slots_in_use", "gauge", "Requests under way."};
constexpr MetricFamily kWaiting = {"requests_waiting", "gauge", "Requests under way that no daemon has yet."};
constexpr MetricFamily kInLine = {"sessions_in_line", "gauge", "Sessions that wait for a slot or payload memory."};
constexpr MetricFamily kOldest = {"oldest_waiting_seconds", "gauge",
                                  "How long the one of them that has waited longest waits."};
constexpr MetricFamily kPayload = {"payload_bytes", "gauge", "Shared memory for requests and replies under way."};
constexpr MetricFamily kPayloadInUse = {"payload_bytes_in_use", "gauge", "Bytes of it in use."};
constexpr MetricFamily kHotEntries = {"hot_cache_entries", "gauge", "Answers in the hot cache."};
constexpr MetricFamily kHotBytes = {"hot_cache_bytes", "gauge", "Shared memory of the hot cache."};
constexpr MetricFamily kHotBytesInUse = {"hot_cache_bytes_in_use", "gauge", "Bytes of it in use."};
constexpr MetricFamily kHotEvictions = {"hot_cache_evictions_total", "counter",
                                        "Answers that made room for others in the hot cache."};
constexpr MetricFamily kPendingWrites = {"cache_writes_pending", "gauge", "Answers on their way to steadytext_cache."};
constexpr MetricFamily kDeallocations = {"stat_deallocations_total", "counter",
                                         "Rows of pg_stat_steadytext that made room for others."};
constexpr MetricFamily kJobs = {"queue_jobs", "gauge", "Asynchronous calls pending or under way, in all databases."};
constexpr MetricFamily kOldestJob = {"queue_oldest_job_seconds", "gauge",
                                     "How long the one that has been pending longest is."};
constexpr MetricFamily kJobFailures = {"queue_worker_failures", "gauge",
                                       "Transactions of queue workers that failed in a row."};
constexpr MetricFamily kWorkerUp = {"worker_up", "gauge", "Whether the background worker runs."};
constexpr MetricFamily kWorkerBeat = {"worker_silence_seconds", "gauge",
                                      "How long ago the background worker last went round its loop."};
constexpr MetricFamily kGatewayStarts = {"gateway_starts_total", "counter", "Starts of the gateway."};
constexpr MetricFamily kRefreshStretch = {
    "refresh_stretch", "gauge", "By how much incidents stretch steadytext.frecency_refresh_interval; 1: not."};
constexpr MetricFamily kEmbeddedStarts = {"embedded_daemon_starts_total", "counter", "Starts of the embedded daemon."};

double seconds_since(std::int64_t then_us, std::int64_t now_us) {
    return then_us == 0 ? 0 : static_cast<double>(now_us - then_us) / 1e6;
}

void add_memory(Gatherer &to, const Segment &segment, std::int64_t now_us) {
    constexpr auto kChunk = static_cast<double>(PayloadPool::kChunkBytes);
    const WaitingState &waiting = segment.header->waiting;
    to.add(kSlots, std::uint64_t{segment.slots->size()});
    to.add(kSlotsInUse, std::uint64_t{segment.slots->in_use()});
    to.add(kWaiting, std::uint64_t{waiting.count.load(std::memory_order_relaxed)});
    to.add(kInLine, std::uint64_t{segment.waiting_line->count()});
    to.add(kOldest, seconds_since(waiting.oldest_us.load(std::memory_order_relaxed), now_us));
    to.add(kPayload, static_cast<double>(segment.payloads->chunk_count()) * kChunk);
    to.add(kPayloadInUse, static_cast<double>(segment.payloads->chunks_in_use()) * kChunk);
    if (segment.hot_cache != nullptr) {
        const HotCacheStats hot = segment.hot_cache->stats_without_hits();
        to.add(kHotEntries, std::uint64_t{hot.entries});
        to.add(kHotBytes, std::uint64_t{hot.bytes_total});
        to.add(kHotBytesInUse, std::uint64_t{hot.bytes_used});
        to.add(kHotEvictions, std::uint64_t{hot.evictions});
    }
    std::uint64_t pending = 0;
    for (const DatabaseRow &row : *segment.databases)
        pending += row.pending_writes.load(std::memory_order_relaxed);
    to.add(kPendingWrites, pending);
    to.add(kDeallocations, segment.statements->deallocations());
}

void add_queues(Gatherer &to, const Segment &segment) {
    const std::int64_t now_us = core::unix_us();
    std::int64_t jobs = 0;
    std::uint64_t failures = 0;
    double oldest = 0;
    for (const DatabaseRow &row : *segment.databases) {
        jobs += row.queue_places.length.load(std::memory_order_relaxed);
        failures += row.queue_failures.load(std::memory_order_relaxed);
        oldest = std::max(oldest, seconds_since(row.queue_oldest_us.load(std::memory_order_relaxed), now_us));
    }
    to.add(kJobs, static_cast<double>(jobs));
    to.add(kOldestJob, oldest);
    to.add(kJobFailures, failures);
}

void add_workers(Gatherer &to, const Segment &segment, std::int64_t now_us) {
    const Header &header = *segment.header;
    const std::pair<const char *, const WorkerState *> workers[] = {{"gateway", &header.gateway},
                                                                    {"launcher", &header.launcher}};
    to.add(kInfo, std::uint64_t{1}, {{"version", header.library_version}});
    for (const auto &[name, worker] : workers)
        to.add(kWorkerUp, std::uint64_t{worker->pid.load(std::memory_order_relaxed) != 0}, {{"worker", name}});
    for (const auto &[name, worker] : workers)
        to.add(kWorkerBeat, seconds_since(worker->beat_us.load(std::memory_order_relaxed), now_us), {{"worker", name}});
    to.add(kGatewayStarts, header.gateway.starts.load(std::memory_order_relaxed));
    to.add(kEmbeddedStarts, std::uint64_t{header.embedded.starts.load(std::memory_order_relaxed)});
    to.add(kRefreshStretch, std::uint64_t{header.refresh_stretch.load(std::memory_order_relaxed)});
}

// ---- incidents -----------------------------------------------------------------------------------------------------

constexpr MetricFamily kIncidentsOpen = {"incidents_open", "gauge", "Incidents that are open, by condition."};
constexpr MetricFamily kIncidentsOpened = {"incidents_total", "counter",
                                           "Incidents that opened since the server started, by condition."};

void add_incidents(Gatherer &to, const Incidents &incidents) {
    for (std::size_t i = 0; i < core::kConditionCount; i++)
        to.add(kIncidentsOpen, std::uint64_t{incidents.open[i].load(std::memory_order_relaxed)},
               {{"condition", core::kConditions[i].name}});
    for (std::size_t i = 0; i < core::kConditionCount; i++)
        to.add(kIncidentsOpened, incidents.opened[i].load(std::memory_order_relaxed),
               {{"condition", core::kConditions[i].name}});
}

// ---- daemons -------------------------------------------------------------------------------------------------------

constexpr MetricFamily kConnections = {"daemon_connections_active", "gauge", "Connections to daemons."};

struct DaemonMetric {
    MetricFamily family;
    double (*value)(const DaemonRow &row, const core::BreakerSettings &breaker, std::int64_t now_us);
};
using Row = const DaemonRow &;
using Breaker = const core::BreakerSettings &;
constexpr DaemonMetric kDaemonMetrics[] = {
    {{"daemon_up", "gauge", "Whether the daemon is connected and answers."},
     [](Row row, Breaker, std::int64_t) -> double {
         return row.state.load(std::memory_order_relaxed) == DaemonState::Ready;
     }},
    {{"daemon_draining", "gauge", "Whether the daemon is drained, or rests because its circuit breaker flaps."},
     [](Row row, Breaker, std::int64_t) -> double {
         return row.rests() || row.state.load(std::memory_order_relaxed) == DaemonState::Draining;
     }},
    {{"daemon_breaker_open", "gauge", "The daemon's circuit breaker: 0 closed, 0.5 half open, 1 open."},
     [](Row row, Breaker breaker, std::int64_t now_us) {
         const core::BreakerState state = row.breaker.state(breaker, now_us);
         return state == core::BreakerState::Closed ? 0 : state == core::BreakerState::Open ? 1 : 0.5;
     }},
    {{"daemon_in_flight", "gauge", "Requests the daemon has."},
     [](Row row, Breaker, std::int64_t) -> double { return row.in_flight.load(std::memory_order_relaxed); }},
    {{"daemon_requests_total", "counter", "Requests sent to the daemon."},
     [](Row row, Breaker, std::int64_t) { return static_cast<double>(row.requests.load(std::memory_order_relaxed)); }},
    {{"daemon_failures_total", "counter", "Failures held against the daemon."},
     [](Row row, Breaker, std::int64_t) { return static_cast<double>(row.failures.load(std::memory_order_relaxed)); }},
    {{"daemon_breaker_opened_total", "counter", "How often the daemon's circuit breaker opened."},
     [](Row row, Breaker, std::int64_t) { return static_cast<double>(row.breaker.times_opened()); }},
    {{"daemon_late_replies_total", "counter", "The daemon's replies to requests that had ended."},
     [](Row row, Breaker, std::int64_t) {
         return static_cast<double>(row.late_replies.load(std::memory_order_relaxed));
     }},
    {{"daemon_last_answer_timestamp_seconds", "gauge", "When the daemon last gave a sign of life; 0: never."},
     [](Row row, Breaker, std::int64_t) {
         return static_cast<double>(row.last_answer_unix_us.load(std::memory_order_relaxed)) / 1e6;
     }},
};

void add_daemons(Gatherer &to, const DaemonTable &daemons, const core::BreakerSettings &breaker, std::int64_t now_us) {
    std::vector<std::pair<const DaemonRow *, std::string>> known;
    std::uint64_t connections = 0;
    for (const DaemonRow &row : daemons.rows) {
        DaemonIdentity identity;
        if (row.state.load(std::memory_order_relaxed) == DaemonState::Absent || !row.identity.load(identity))
            continue;
        known.emplace_back(&row, identity.endpoint);
        connections += row.connections.load(std::memory_order_relaxed);
    }
    to.add(kConnections, connections);
    for (const DaemonMetric &metric : kDaemonMetrics)
        for (const auto &[row, endpoint] : known)
            to.add(metric.family, metric.value(*row, breaker, now_us), {{"daemon", endpoint}});
}

// ---- text ----------------------------------------------------------------------------------------------------------

void append_value(std::string &text, double value) {
    char digits[32];
    const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
    text.append(digits, end);
}

void append_label_value(std::string &text, std::string_view value) {
    for (const char c : value) {
        if (c == '\n') {
            text += "\\n";
            continue;
        }
        if (c == '"' || c == '\\')
            text += '\\';
        text += c;
    }
}

void append_sample(std::string &text, const MetricSample &sample) {
    text.append("steadytext_").append(sample.family->name).append(sample.suffix);
    const char *separator = "{";
    for (const auto &[name, value] : sample.labels) {
        text.append(separator).append(name).append("=\"");
        append_label_value(text, value);
        text += '"';
        separator = ",";
    }
    if (!sample.labels.empty())
        text += '}';
    text += ' ';
    append_value(text, sample.value);
    text += '\n';
}

}  // namespace

std::vector<MetricSample> gather_metrics(const Segment &segment, const core::BreakerSettings &breaker) {
    const std::int64_t now_us = core::monotonic_us();
    std::vector<MetricSample> samples;
    Gatherer to(samples);
    add_calls(to, segment.calls->totals());
    add_events(to, *segment.counters);
    add_memory(to, segment, now_us);
    add_queues(to, segment);
    add_workers(to, segment, now_us);
    add_incidents(to, *segment.incidents);
    add_daemons(to, *segment.daemons, breaker, now_us);
    return samples;
}

void write_prometheus(const std::vector<MetricSample> &samples, std::string &text) {
    for (std::size_t i = 0; i < samples.size(); i++) {
        const MetricFamily &family = *samples[i].family;
        if (i == 0 || samples[i - 1].family != &family) {
            text.append("# HELP steadytext_").append(family.name).append(" ").append(family.help);
            text.append("\n# TYPE steadytext_").append(family.name).append(" ").append(family.type).append("\n");
        }
        append_sample(text, samples[i]);
    }
}

}  // namespace steadytext::shmem
