// Everything the server measures, as a list of families and samples in the sense of Prometheus.
//
// Called by steadytext_metrics() and steadytext_prometheus() (src/functions/metrics.cpp) and by the gateway's listener
// (bgworker/metrics_listener.*), so all three report the same. Regime: pure (may throw std::bad_alloc).
//
// Labels have values from fixed lists (operation, outcome, cause, level, stage) or name a daemon of steadytext.daemons.
// So there are a few thousand series at most, however many roles, databases and queries there are. The view
// pg_stat_steadytext and the table steadytext_usage tell roles, databases and queries apart.
#pragma once

#include "src/core/breaker.hpp"

#include <string>
#include <utility>
#include <vector>

namespace steadytext::shmem {

struct Segment;

struct MetricFamily {
    const char *name;
    const char *type;  // counter, gauge or histogram
    const char *help;
};

struct MetricSample {
    const MetricFamily *family;
    const char *suffix;  // _bucket, _sum, _count of a histogram; else empty
    std::vector<std::pair<const char *, std::string>> labels;
    double value;
};

// The samples of a family stand together.
[[nodiscard]] std::vector<MetricSample> gather_metrics(const Segment &segment, const core::BreakerSettings &breaker);

// The text format, version 0.0.4.
void write_prometheus(const std::vector<MetricSample> &samples, std::string &text);

}  // namespace steadytext::shmem
