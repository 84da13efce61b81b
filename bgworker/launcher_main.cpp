// The launcher as a PostgreSQL process: keeps the embedded daemon, the keepers and the queue workers as the settings
// and the work require, and watches for incidents.
//
// Regime: boundary. It has no threads, so it may fork; its C++ objects live on the heap, outside every frame that a
// longjmp could skip.
#include "bgworker/worker_process.hpp"
#include "bgworker/databases.hpp"
#include "bgworker/embedded_daemon.hpp"
#include "bgworker/incident_watch.hpp"
#include "bgworker/keepers.hpp"
#include "bgworker/queue_workers.hpp"
#include "shmem/stats_file.hpp"
#include "src/core/clock.hpp"
#include "src/core/endpoint.hpp"
#include "src/guc.hpp"
#include "src/pg/boundary.hpp"

extern "C" {
#include "postmaster/bgworker.h"
#include "utils/memutils.h"

PGDLLEXPORT void steadytext_launcher_main(Datum);
}

#include <algorithm>

namespace steadytext::worker {

namespace {

constexpr std::int64_t kShutdownPatienceUs = 500'000;
constexpr std::int64_t kStatsIntervalUs = 5'000'000;
constexpr std::int64_t kProbeUs = 1'000'000;

void wake_on_child_exit(SIGNAL_ARGS) {
    const int saved_errno = errno;
    SetLatch(MyLatch);
    errno = saved_errno;
}

bool has_text(const char *setting) { return setting != nullptr && setting[0] != '\0'; }

// The command line from the settings; empty if they ask for no daemon.
std::vector<std::string> wanted_command() {
    if (!guc::embedded_daemon || (!has_text(guc::embedded_model) && !has_text(guc::embedded_embedding_model)))
        return {};
    std::vector<std::string> command;
    if (has_text(guc::embedded_program)) {
        command.emplace_back(guc::embedded_program);
    } else {
        const std::string server = my_exec_path;
        command.push_back(server.substr(0, server.rfind('/') + 1) + "steadytextd");
    }
    const auto option = [&](const char *name, const std::string &value) {
        command.emplace_back(name);
        command.push_back(value);
    };
    option("--endpoint", core::kEmbeddedEndpoint);
    command.emplace_back("--exit-on-stdin-eof");
    option("--slots", std::to_string(guc::embedded_slots));
    if (guc::embedded_threads > 0)
        option("--threads", std::to_string(guc::embedded_threads));
    option("--prefix-memory", std::to_string(guc::embedded_prefix_memory_mb));
    if (guc::embedded_memory_mb > 0)
        option("--memory", std::to_string(guc::embedded_memory_mb));
    if (guc::embedded_gpu_layers > 0)
        option("--gpu-layers", std::to_string(guc::embedded_gpu_layers));
    constexpr const char *kOverflows[] = {"error", "cut", "mean"};  // guc::EmbeddingOverflow
    option("--embedding-overflow", kOverflows[guc::embedding_overflow]);
    if (has_text(guc::embedded_model))
        option("--model", guc::embedded_model);
    if (has_text(guc::embedded_embedding_model))
        option("--embedding-model", guc::embedded_embedding_model);
    if (has_text(guc::embedded_reranker_model))
        option("--reranker-model", guc::embedded_reranker_model);
    return command;
}

std::int64_t reconcile(EmbeddedDaemon &daemon) {
    auto *log = new std::vector<std::string>;
    std::int64_t again_us = 0;
    pg::guarded([&] { again_us = daemon.reconcile(wanted_command(), core::monotonic_us(), *log); });
    for (const std::string &line : *log)
        ereport(LOG, (errmsg("%s", line.c_str())));
    delete log;
    return again_us;
}

// Saves the counters, so that they go on from here if shared memory is made anew.
void keep_stats() {
    static std::int64_t kept_us = 0;
    const std::int64_t now_us = core::monotonic_us();
    if (now_us - kept_us < kStatsIntervalUs)
        return;
    kept_us = now_us;
    const shmem::Segment &segment = shmem::segment();
    if (!shmem::save_stats(shmem::kStatsFile, shmem::take_stats(*segment.calls, *segment.counters)))
        ereport(LOG, (errcode_for_file_access(), errmsg("could not write file \"%s\": %m", shmem::kStatsFile)));
}

bool would_find_daemon(const shmem::Segment &segment, std::int64_t now_us) {
    if (segment.header->gateway.pid.load() == 0 || now_us - segment.header->gateway.beat_us.load() > kProbeUs)
        return false;
    return std::any_of(std::begin(segment.daemons->rows), std::end(segment.daemons->rows),
                       [&](const shmem::DaemonRow &row) {
                           return row.state.load() == shmem::DaemonState::Ready &&
                                  row.breaker.state(guc::breaker_settings(), now_us) != core::BreakerState::Open;
                       });
}

// Once a second, if the server is meant to have daemons: would a request find a daemon?
void probe() {
    static std::int64_t probed_us = 0;
    const shmem::Segment &segment = shmem::segment();
    const std::int64_t now_us = core::monotonic_us();
    if (now_us - probed_us < kProbeUs || (!has_text(guc::daemons) && wanted_command().empty()))
        return;
    probed_us = now_us;
    segment.counters->add(0, shmem::Counter::Probes);
    if (!would_find_daemon(segment, now_us))
        segment.counters->add(0, shmem::Counter::ProbesFailed);
}

// Returns when to look again.
std::int64_t start_workers() {
    static DatabaseStarts *starts = nullptr;
    const shmem::Segment &segment = shmem::segment();
    const std::uint32_t count = segment.databases->size();
    if (starts == nullptr)
        starts =
            static_cast<DatabaseStarts *>(MemoryContextAllocZero(TopMemoryContext, sizeof(DatabaseStarts) * count));
    std::int64_t again_us = INT64_MAX;
    tidy_databases(segment, core::monotonic_us());
    const std::int64_t now_us = core::monotonic_us();
    WantedWorkers wanted(segment, {starts, count}, now_us);
    want_keepers(segment, {starts, count}, wanted, now_us, again_us);
    want_node_workers(segment, {starts, count}, wanted, now_us, again_us);
    want_queue_workers(segment, {starts, count}, wanted, now_us, again_us);
    wanted.begin(again_us);
    note_visit();
    return again_us;
}

void run(EmbeddedDaemon &daemon) {
    const uint32 waiting = pg::wait_event("SteadytextLauncherMain");
    while (!shutdown_requested()) {
        ResetLatch(MyLatch);
        serve_interrupts();
        shmem::segment().header->launcher.beat_us.store(core::monotonic_us(), std::memory_order_relaxed);
        shmem::segment().header->callback_deadline_ms.store(guc::request_timeout_ms, std::memory_order_relaxed);
        keep_stats();
        probe();
        watch_incidents(shmem::segment(), core::monotonic_us());
        const std::int64_t again_us = std::min(reconcile(daemon), start_workers());
        const long pause_ms =
            std::clamp<long>(static_cast<long>((again_us - core::monotonic_us()) / 1000) + 1, 1, kProbeUs / 1000);
        const int events = WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH;
        if (daemon.log_fd() >= 0)
            WaitLatchOrSocket(MyLatch, events | WL_SOCKET_READABLE, daemon.log_fd(), pause_ms, waiting);
        else
            WaitLatch(MyLatch, events, pause_ms, waiting);
    }
}

}  // namespace

}  // namespace steadytext::worker

void steadytext_launcher_main(Datum) {
    using namespace steadytext;
    const shmem::Segment &segment = shmem::segment();
    pqsignal(SIGCHLD, worker::wake_on_child_exit);
    worker::begin(segment.header->launcher);
    worker::make_directory();

    static worker::EmbeddedDaemon *daemon;
    segment.header->embedded.pid.store(0);
    pg::guarded([&] { daemon = new worker::EmbeddedDaemon(segment.header->embedded, worker::kEmbeddedSocket); });
    ereport(LOG, (errmsg("pg_steadytext launcher started")));
    worker::run(*daemon);
    daemon->shut_down(worker::kShutdownPatienceUs);
    worker::leave();
}
