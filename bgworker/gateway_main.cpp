// The gateway as a PostgreSQL process: event loop, libzmq's context, settings. Regime: boundary.
//
// The Gateway object (pure C++) lives on the heap, never in a frame that a longjmp could skip; every call into it goes
// through a catch-all. An exception ends the process, and the postmaster starts another gateway, which finds the
// pending requests in the slot table.
#include "bgworker/worker_process.hpp"
#include "bgworker/gateway.hpp"
#include "bgworker/metrics_listener.hpp"
#include "src/guc.hpp"
#include "src/core/clock.hpp"
#include "src/pg/boundary.hpp"

extern "C" {
#include "postmaster/bgworker.h"

PGDLLEXPORT void steadytext_gateway_main(Datum);
}

#include <csignal>
#include <curl/curl.h>
#include <malloc.h>
#include <pthread.h>
#include <algorithm>
#include <sys/resource.h>
#include <zmq.h>

namespace steadytext::gateway {

namespace {

constexpr const char *kModelFile = "pg_steadytext/models.json";
constexpr int kMaxEvents = 16;

// Once they run, libzmq's threads block all signals; until then a thread could take a signal meant for this thread, and
// a latch's wake-up would be lost (gpdb#11006). So the first socket starts them while everything is blocked.
void *start_zmq() {
    sigset_t all, previous;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &previous);
    void *context = zmq_ctx_new();
    void *first = context != nullptr ? zmq_socket(context, ZMQ_PAIR) : nullptr;
    if (first != nullptr)
        zmq_close(first);
    pthread_sigmask(SIG_SETMASK, &previous, nullptr);
    if (first == nullptr)
        ereport(FATAL, (errmsg("could not start ZeroMQ: %s", zmq_strerror(zmq_errno()))));
    return context;
}

// libzmq aborts when it runs out of descriptors, and an abort here restarts the whole server; so the pools must fit.
void check_descriptors() {
    rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return;
    const rlim_t needed = 1024;
    if (limit.rlim_cur >= needed)
        return;
    limit.rlim_cur = limit.rlim_max == RLIM_INFINITY ? needed : std::min<rlim_t>(needed, limit.rlim_max);
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < needed)
        ereport(WARNING, (errmsg("pg_steadytext gateway may run out of file descriptors"),
                          errdetail("The limit is %lu; %lu are needed.", static_cast<unsigned long>(limit.rlim_cur),
                                    static_cast<unsigned long>(needed)),
                          errhint("Raise the open files limit (ulimit -n) of the server.")));
}

bool has_text(const char *setting) { return setting != nullptr && setting[0] != '\0'; }

Configuration configuration_from_settings() {
    Configuration configuration;
    configuration.daemons.breaker = guc::breaker_settings();
    configuration.daemons.breaker_timeout_us = std::int64_t{guc::breaker_timeout_ms} * 1000;
    configuration.daemons.pool_size = static_cast<std::size_t>(guc::pool_size);
    configuration.daemons.pool_wait_us = std::int64_t{guc::pool_wait_ms} * 1000;
    configuration.daemons.batch_window_us = std::int64_t{guc::batch_window_ms} * 1000;
    configuration.daemons.max_message_bytes = std::max<std::int64_t>(16 << 20, std::int64_t{guc::max_prompt_bytes} * 2);
    configuration.daemons.allow_plaintext = guc::allow_plaintext;
    configuration.affinity = guc::balance == static_cast<int>(guc::Balance::Affinity);
    configuration.strict_fingerprints = guc::fingerprint_policy == static_cast<int>(guc::FingerprintPolicy::Strict);
    configuration.daemon_list = guc::daemons != nullptr ? guc::daemons : "";
    if (guc::embedded_daemon && (has_text(guc::embedded_model) || has_text(guc::embedded_embedding_model)))
        configuration.embedded_endpoint = core::kEmbeddedEndpoint;
    return configuration;
}

// The gateway and the metrics listener, which share an event loop.
struct Parts {
    Gateway gateway;
    MetricsListener metrics;
};

void configure(Parts &parts) {
    pg::guarded([&] {
        parts.gateway.configure(configuration_from_settings());
        parts.metrics.configure(has_text(guc::metrics_listen) ? guc::metrics_listen : "", guc::breaker_settings());
    });
}

void log_complaints(Parts &parts) {
    auto *complaints = new std::vector<std::string>;
    parts.gateway.take_complaints(*complaints);
    if (std::string complaint = parts.metrics.take_complaint(); !complaint.empty())
        complaints->push_back(std::move(complaint));
    for (const std::string &complaint : *complaints)
        ereport(LOG, (errmsg("%s", complaint.c_str())));
    delete complaints;
}

// Older versions cannot remove descriptors from a wait set, so it is made anew when connections come or go.
WaitEventSet *watch(const Parts &parts, WaitEventSet *previous) {
    if (previous != nullptr)
        FreeWaitEventSet(previous);
    auto *fds = new std::vector<int>;
    pg::guarded([&] {
        parts.gateway.append_wait_fds(*fds);
        parts.metrics.append_wait_fds(*fds);
    });
    WaitEventSet *set = pg::create_wait_event_set(static_cast<int>(fds->size()) + 2);
    AddWaitEventToSet(set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, nullptr);
    AddWaitEventToSet(set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, nullptr, nullptr);
    for (const int fd : *fds)
        if (fd >= 0)
            AddWaitEventToSet(set, WL_SOCKET_READABLE, fd, nullptr, nullptr);
    delete fds;
    return set;
}

void run(Parts &parts) {
    Gateway &gateway = parts.gateway;
    const uint32 waiting = pg::wait_event("SteadytextGatewayMain");
    WaitEventSet *set = nullptr;
    std::int64_t next_tick_us = 0;
    bool descriptor = false;
    configure(parts);
    while (!worker::shutdown_requested()) {
        // The latch is reset before the search for work, so a request published meanwhile sets it again.
        ResetLatch(MyLatch);
        if (worker::serve_interrupts())
            configure(parts);
        bool more = false;
        pg::guarded([&] {
            const std::int64_t now_us = core::monotonic_us();
            shmem::segment().header->gateway.beat_us.store(now_us, std::memory_order_relaxed);
            const bool tick = now_us >= next_tick_us;
            if (tick) {
                gateway.tick();
                next_tick_us = now_us + Gateway::kTickUs;
            }
            more = gateway.work(descriptor);
            if (tick || descriptor)
                parts.metrics.work(now_us);
        });
        if (gateway.has_complaints() || parts.metrics.has_complaint())
            log_complaints(parts);
        const bool changed = parts.metrics.take_wait_fds_changed();
        if (gateway.take_wait_fds_changed() || changed || set == nullptr)
            set = watch(parts, set);
        descriptor = false;
        if (more)
            continue;
        WaitEvent events[kMaxEvents];
        const std::int64_t left_us =
            std::clamp<std::int64_t>(gateway.due_us() - core::monotonic_us(), 0, Gateway::kTickUs);
        const int count = WaitEventSetWait(set, static_cast<long>((left_us + 999) / 1000), events, kMaxEvents, waiting);
        for (int i = 0; i < count; i++)
            descriptor |= (events[i].events & WL_SOCKET_READABLE) != 0;
    }
}

}  // namespace

}  // namespace steadytext::gateway

void steadytext_gateway_main(Datum) {
    using namespace steadytext;
    const shmem::Segment &segment = shmem::segment();
    worker::begin(segment.header->gateway);
    gateway::check_descriptors();
    worker::make_directory();
    // Large allocations use mmap, so the memory of a huge message goes back to the system with the message.
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
    void *context = gateway::start_zmq();
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        ereport(FATAL, (errmsg("could not start libcurl")));

    static gateway::Parts *parts;
    pg::guarded([&] {
        parts = new gateway::Parts{{segment, context, [](std::int32_t owner) { pg::set_latch_of(owner); },
                                    [](std::int32_t owner) { return pg::pid_of(owner) == 0; }, gateway::kModelFile},
                                   gateway::MetricsListener(segment)};
    });
    ereport(LOG, (errmsg("pg_steadytext gateway started")));
    gateway::run(*parts);

    delete parts;
    zmq_ctx_term(context);
    worker::leave();
}
