// The only shared memory segment of the extension: its contents and their places.
//
// Placed by the postmaster, attached by every process. Only this part of shmem/ knows PostgreSQL. Regime: pg. After a
// crash PostgreSQL makes all shared memory anew and the boot epoch changes, so a reply to a request of the earlier life
// is never taken for a reply of this life.
#pragma once

#include "shmem/audit_ring.hpp"
#include "shmem/cache_epochs.hpp"
#include "shmem/cache_writes.hpp"
#include "shmem/call_stats.hpp"
#include "shmem/callback_workers.hpp"
#include "shmem/counters.hpp"
#include "shmem/daemon_table.hpp"
#include "shmem/database_table.hpp"
#include "shmem/hot_cache.hpp"
#include "shmem/hub_nodes.hpp"
#include "shmem/incidents.hpp"
#include "shmem/parallel_notes.hpp"
#include "shmem/payload_pool.hpp"
#include "shmem/progress_table.hpp"
#include "shmem/queue_waiters.hpp"
#include "shmem/rate_limiter.hpp"
#include "shmem/recent_calls.hpp"
#include "shmem/role_calls.hpp"
#include "shmem/single_flight.hpp"
#include "shmem/slot_table.hpp"
#include "shmem/statement_stats.hpp"
#include "shmem/submit_ring.hpp"
#include "shmem/usage.hpp"
#include "shmem/waiting_line.hpp"

namespace steadytext::shmem {

inline constexpr std::uint64_t kMagic = 0x5354'4541'4459'5458;  // "STEADYTX"
inline constexpr std::uint32_t kLayoutVersion = 1;

// A worker as others see it. Written by the worker itself.
struct WorkerState {
    std::atomic<std::int32_t> proc_number{-1};  // -1: not running
    std::atomic<std::int32_t> pid{0};
    std::atomic<std::uint64_t> starts{0};
    std::atomic<std::int64_t> beat_us{0};  // CLOCK_MONOTONIC, the last round of its loop
};

// Requests that no daemon has yet. Written by the gateway, ten times a second.
struct WaitingState {
    std::atomic<std::uint32_t> count{0};
    std::atomic<std::int64_t> oldest_us{0};  // CLOCK_MONOTONIC, when the oldest was submitted; 0: there is none
};

// Orders for the launcher about the embedded daemon, and the result.
struct EmbeddedState {
    enum class Wanted : std::int32_t { BySetting, Stopped };
    std::atomic<Wanted> wanted{Wanted::BySetting};
    std::atomic<std::int32_t> pid{0};         // 0: not running
    std::atomic<bool> restart_wanted{false};  // end it if it runs, as it hangs; start another without a pause
    std::atomic<bool> expected{false};        // it runs or will run soon: its requests may wait
    std::atomic<std::int64_t> started_us{0};  // CLOCK_MONOTONIC
    std::atomic<std::uint32_t> starts{0};
    SeqLock<core::Problem> last_problem;  // why it is not running
};

struct alignas(kCacheLine) Header {
    std::uint64_t magic = kMagic;
    std::uint32_t layout_version = kLayoutVersion;
    char library_version[16] = "";
    std::uint64_t boot_epoch = 0;
    // The node's number at its hub (hub_nodes.hpp), told to nobody else: whoever knows the number could send batches in
    // this node's place.
    std::uint64_t hub_node = 0;
    std::atomic<std::uint64_t> hub_batches{0};  // batches to the hub are numbered: the last one
    std::int64_t made_unix_us = 0;  // anything that ran before this time ended in a crash, or with the server
    WorkerState gateway;
    WorkerState launcher;
    EmbeddedState embedded;
    WaitingState waiting;
    std::atomic<std::uint64_t> next_request{0};
    // CLOCK_MONOTONIC, since when a wanted worker finds no place in max_worker_processes; 0: no worker is wanted in
    // vain (bgworker/start_limiter.*).
    std::atomic<std::int64_t> no_worker_since_us{0};
    CallbackWorkers callback_workers;
    // The time limit for a single callback: the server's steadytext.request_timeout, written by the launcher, whatever
    // databases set.
    std::atomic<std::int32_t> callback_deadline_ms{30'000};
    bool gateway_registered = false;  // a place in max_worker_processes was there when the server started
    bool launcher_registered = false;
    // The effects of incidents, written by the launcher (bgworker/incident_watch.*).
    std::atomic<std::uint32_t> refresh_stretch{1};  // factor on steadytext.frecency_refresh_interval
    std::atomic<std::int32_t> least_priority{1};    // asynchronous calls with a lower priority are not begun
    std::atomic<bool> incidents_settled{false};     // incidents left open by an earlier life are settled
};

struct Segment {
    Header *header = nullptr;
    SubmitRing *ring = nullptr;
    SlotTable *slots = nullptr;
    PayloadPool *payloads = nullptr;
    DaemonTable *daemons = nullptr;
    Counters *counters = nullptr;
    CallStats *calls = nullptr;
    RecentCalls *recent_calls = nullptr;
    RoleCalls *role_calls = nullptr;
    ProgressTable *progress = nullptr;
    ParallelNotes *parallel_notes = nullptr;
    StatementStats *statements = nullptr;
    Usage *usage = nullptr;
    Incidents *incidents = nullptr;
    DatabaseTable *databases = nullptr;
    CacheEpochs *cache_epochs = nullptr;
    CacheWrites *cache_writes = nullptr;
    HubNodes *hub_nodes = nullptr;
    AuditRing *audit = nullptr;
    AuditPacing *audit_pacing = nullptr;
    SingleFlight *single_flight = nullptr;
    QueueWaiters *queue_waiters = nullptr;
    WaitingLine *waiting_line = nullptr;
    RateLimiter *limiter = nullptr;
    HotCache *hot_cache = nullptr;  // null: hot_cache_size is 0
};

// Files inside the data directory that keep the counters and the usage while the server is down.
inline constexpr const char *kStatsFile = "pg_steadytext/stats";
inline constexpr const char *kUsageFile = "pg_steadytext/usage";

// Called by _PG_init while shared_preload_libraries are loaded.
void request_segment();

// True if this server was started with the library preloaded.
[[nodiscard]] bool segment_attached();

// The segment; an ERROR with a hint if the library was not preloaded.
[[nodiscard]] const Segment &segment();

}  // namespace steadytext::shmem
