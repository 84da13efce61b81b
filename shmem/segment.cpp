// Measures, lays out and attaches the segment. Regime: pg.
#include "src/pg/compat.hpp"
#include "shmem/segment.hpp"
#include "shmem/answer_counts.hpp"
#include "shmem/hub_asks.hpp"
#include "shmem/hub_leases.hpp"
#include "shmem/hub_links.hpp"
#include "shmem/prompt_sizes.hpp"
#include "shmem/stats_file.hpp"
#include "shmem/usage_file.hpp"
#include "shmem/worker_places.hpp"
#include "src/core/clock.hpp"
#include "src/guc.hpp"

extern "C" {
#include "storage/shmem.h"
}

#include <new>
#include <sys/mman.h>
#include <unistd.h>

namespace steadytext::shmem {

namespace {

shmem_startup_hook_type previous_shmem_startup_hook = nullptr;
Segment attached;
WorkerPlaces *places_of_workers = nullptr;
AnswerCounts *counts_of_answers = nullptr;
PromptSizes *sizes_of_prompts = nullptr;
HubLinks *links_of_nodes = nullptr;
HubAsks *asks_of_nodes = nullptr;
HubLeases *leases_of_nodes = nullptr;

HotCacheConfig hot_cache_config() {
    HotCacheConfig config{};
    config.bytes = static_cast<std::size_t>(guc::hot_cache_size_kb) * 1024;
    return config;
}

std::size_t payload_bytes() { return static_cast<std::size_t>(guc::payload_memory_kb) * 1024; }
std::size_t cache_write_bytes() { return static_cast<std::size_t>(guc::cache_write_memory_kb) * 1024; }

// Hands out consecutive cache-line-aligned pieces; with no memory behind it, it only measures.
class Cursor {
public:
    explicit Cursor(char *memory) : memory_(memory) {}
    void *take(std::size_t bytes) {
        char *piece = memory_ == nullptr ? nullptr : memory_ + used_;
        used_ += round_up(bytes);
        return piece;
    }
    [[nodiscard]] std::size_t used() const { return used_; }

private:
    char *memory_;
    std::size_t used_ = 0;
};

// A large cache is read at random: with pages of 4 KiB most lookups walk through the page tables. Asks for huge pages,
// which the kernel gives if transparent_hugepage/shmem_enabled = advise. Changes nothing if PostgreSQL's huge_pages
// already got them, or if there are none.
void ask_for_huge_pages(void *memory, std::size_t bytes) {
    const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
    const std::uintptr_t from = (reinterpret_cast<std::uintptr_t>(memory) + page - 1) / page * page;
    const std::uintptr_t to = (reinterpret_cast<std::uintptr_t>(memory) + bytes) / page * page;
    if (from < to)
        (void)madvise(reinterpret_cast<void *>(from), to - from, MADV_HUGEPAGE);
}

// The only description of the layout. With `memory` null it measures; else it fills `segment` with places, and
// constructs the structures if `fresh`.
std::size_t lay_out(char *memory, bool fresh, Segment &segment) {
    Cursor cursor(memory);
    const auto slots = static_cast<std::uint32_t>(guc::max_requests);
    const auto meters = static_cast<std::uint32_t>(guc::max_rate_meters);
    void *header = cursor.take(sizeof(Header));
    void *ring = cursor.take(sizeof(SubmitRing));
    void *daemons = cursor.take(sizeof(DaemonTable));
    void *counters = cursor.take(sizeof(Counters));
    void *calls = cursor.take(CallStats::bytes_needed(pg::max_processes()));
    void *recent_calls = cursor.take(sizeof(RecentCalls));
    void *role_calls = cursor.take(sizeof(RoleCalls));
    void *progress = cursor.take(ProgressTable::bytes_needed(pg::max_processes()));
    void *parallel_notes = cursor.take(ParallelNotes::bytes_needed(pg::max_processes()));
    void *statements = cursor.take(StatementStats::bytes_needed(static_cast<std::uint32_t>(guc::stat_statements_max)));
    void *usage = cursor.take(sizeof(Usage));
    void *incidents = cursor.take(sizeof(Incidents));
    void *slot_table = cursor.take(SlotTable::bytes_needed(slots));
    void *payloads = cursor.take(PayloadPool::bytes_needed(payload_bytes()));
    void *databases = cursor.take(DatabaseTable::bytes_needed(static_cast<std::uint32_t>(guc::max_databases)));
    void *worker_places = cursor.take(WorkerPlaces::bytes_needed(static_cast<std::uint32_t>(guc::max_databases)));
    void *answers = cursor.take(sizeof(AnswerCounts));
    void *prompts = cursor.take(sizeof(PromptSizes));
    void *links = cursor.take(HubLinks::bytes_needed(static_cast<std::uint32_t>(guc::max_databases)));
    void *asks = cursor.take(sizeof(HubAsks));
    void *leases = cursor.take(sizeof(HubLeases));
    void *cache_epochs = cursor.take(sizeof(CacheEpochs));
    void *cache_writes = cursor.take(CacheWrites::bytes_needed(cache_write_bytes()));
    void *hub_nodes = cursor.take(sizeof(HubNodes));
    void *audit = cursor.take(sizeof(AuditRing));
    void *audit_pacing = cursor.take(sizeof(AuditPacing));
    void *single_flight = cursor.take(SingleFlight::bytes_needed(slots, pg::max_processes()));
    void *queue_waiters = cursor.take(QueueWaiters::bytes_needed(pg::max_processes()));
    void *waiting_line = cursor.take(WaitingLine::bytes_needed(pg::max_processes()));
    void *limiter = cursor.take(RateLimiter::bytes_needed(meters, pg::max_processes()));
    void *hot_cache = guc::hot_cache_size_kb > 0 ? cursor.take(HotCache::bytes_needed(hot_cache_config())) : nullptr;
    if (memory == nullptr)
        return cursor.used();

    if (fresh) {
        new (header) Header;
        new (ring) SubmitRing;
        new (daemons) DaemonTable;
        new (counters) Counters;
        CallStats::place(calls, pg::max_processes());
        new (recent_calls) RecentCalls;
        new (role_calls) RoleCalls;
        ProgressTable::place(progress, pg::max_processes());
        ParallelNotes::place(parallel_notes, pg::max_processes());
        StatementStats::place(statements, static_cast<std::uint32_t>(guc::stat_statements_max));
        new (usage) Usage;
        new (incidents) Incidents;
        SlotTable::place(slot_table, slots);
        PayloadPool::place(payloads, payload_bytes());
        DatabaseTable::place(databases, static_cast<std::uint32_t>(guc::max_databases));
        WorkerPlaces::place(worker_places, static_cast<std::uint32_t>(guc::max_databases));
        new (answers) AnswerCounts;
        new (prompts) PromptSizes;
        HubLinks::place(links, static_cast<std::uint32_t>(guc::max_databases));
        new (asks) HubAsks;
        new (leases) HubLeases;
        new (hub_nodes) HubNodes;
        new (audit) AuditRing;
        new (audit_pacing) AuditPacing;
        SingleFlight::place(single_flight, slots, pg::max_processes());
        new (cache_epochs) CacheEpochs;
        CacheWrites::place(cache_writes, cache_write_bytes());
        QueueWaiters::place(queue_waiters, pg::max_processes());
        WaitingLine::place(waiting_line, pg::max_processes());
        RateLimiter::place(limiter, meters, pg::max_processes());
        if (hot_cache != nullptr) {
            ask_for_huge_pages(hot_cache, HotCache::bytes_needed(hot_cache_config()));
            HotCache::place(hot_cache, hot_cache_config());
        }
    }
    segment.header = static_cast<Header *>(header);
    segment.ring = static_cast<SubmitRing *>(ring);
    segment.daemons = static_cast<DaemonTable *>(daemons);
    segment.counters = static_cast<Counters *>(counters);
    segment.calls = static_cast<CallStats *>(calls);
    segment.recent_calls = static_cast<RecentCalls *>(recent_calls);
    segment.role_calls = static_cast<RoleCalls *>(role_calls);
    segment.progress = static_cast<ProgressTable *>(progress);
    segment.parallel_notes = static_cast<ParallelNotes *>(parallel_notes);
    segment.statements = static_cast<StatementStats *>(statements);
    segment.usage = static_cast<Usage *>(usage);
    segment.incidents = static_cast<Incidents *>(incidents);
    segment.slots = static_cast<SlotTable *>(slot_table);
    segment.payloads = static_cast<PayloadPool *>(payloads);
    segment.databases = static_cast<DatabaseTable *>(databases);
    places_of_workers = static_cast<WorkerPlaces *>(worker_places);
    counts_of_answers = static_cast<AnswerCounts *>(answers);
    sizes_of_prompts = static_cast<PromptSizes *>(prompts);
    links_of_nodes = static_cast<HubLinks *>(links);
    asks_of_nodes = static_cast<HubAsks *>(asks);
    leases_of_nodes = static_cast<HubLeases *>(leases);
    segment.cache_epochs = static_cast<CacheEpochs *>(cache_epochs);
    segment.cache_writes = static_cast<CacheWrites *>(cache_writes);
    segment.hub_nodes = static_cast<HubNodes *>(hub_nodes);
    segment.audit = static_cast<AuditRing *>(audit);
    segment.audit_pacing = static_cast<AuditPacing *>(audit_pacing);
    segment.single_flight = static_cast<SingleFlight *>(single_flight);
    segment.queue_waiters = static_cast<QueueWaiters *>(queue_waiters);
    segment.waiting_line = static_cast<WaitingLine *>(waiting_line);
    segment.limiter = static_cast<RateLimiter *>(limiter);
    segment.hot_cache = static_cast<HotCache *>(hot_cache);
    return cursor.used();
}

std::size_t segment_bytes() {
    Segment unused;
    return lay_out(nullptr, false, unused) + kCacheLine;  // ShmemInitStruct may align to less than a cache line
}

void request() { RequestAddinShmemSpace(segment_bytes()); }

void initialize(Segment &segment) {
    if (!segment.ring->is_lock_free())
        ereport(FATAL, (errmsg("pg_steadytext needs lock-free 64-bit atomics"),
                        errdetail("Boost.Lockfree falls back to locks on this platform.")));
    if (!pg_strong_random(&segment.header->boot_epoch, sizeof segment.header->boot_epoch) ||
        !pg_strong_random(&segment.header->hub_node, sizeof segment.header->hub_node) || !sizes_of_prompts->salt())
        ereport(FATAL, (errmsg("could not generate random numbers for pg_steadytext")));
    std::uint64_t server = 0;
    if (!pg_strong_random(&server, sizeof server))
        ereport(FATAL, (errmsg("could not generate random numbers for pg_steadytext")));
    links_of_nodes->server.store(server);
    segment.header->made_unix_us = core::unix_us();
    segment.header->gateway_registered = pg::is_registered_worker("pg_steadytext gateway");
    segment.header->launcher_registered = pg::is_registered_worker("pg_steadytext launcher");
    strlcpy(segment.header->library_version, STEADYTEXT_VERSION, sizeof segment.header->library_version);
}

// Restores the counters of an earlier life of the server, from the last time they were saved.
void recall_stats(const Segment &segment) {
    SavedStats saved;
    if (load_stats(kStatsFile, saved))
        restore_stats(saved, *segment.calls, *segment.counters);
}

// Restores usage that no keeper had written when the server stopped; keepers find it again.
void recall_usage(const Segment &segment) {
    auto *entries = static_cast<Usage::Entry *>(palloc(sizeof(Usage::Entry) * Usage::kEntries));
    const std::uint32_t count = load_usage(kUsageFile, entries);
    for (std::uint32_t i = 0; i < count; i++) {
        const std::uint32_t row = segment.databases->of(entries[i].key.database);
        if (segment.usage->add(entries[i].key, entries[i].counts) && row != DatabaseTable::kNone)
            (*segment.databases)[row].note_usage();
    }
    (void)unlink(kUsageFile);
    pfree(entries);
}

// Called in the postmaster when it stops in good order; after a crash shared memory may be damaged, so nothing is
// saved.
void save_stats_at_exit(int code, Datum) {
    if (code != 0 || attached.calls == nullptr)
        return;
    if (!save_stats(kStatsFile, take_stats(*attached.calls, *attached.counters)) && errno != ENOENT)
        ereport(LOG, (errcode_for_file_access(), errmsg("could not write file \"%s\": %m", kStatsFile)));
    auto *entries = static_cast<Usage::Entry *>(palloc(sizeof(Usage::Entry) * Usage::kEntries));
    const std::uint32_t count = attached.usage->copy(entries);
    if (count > 0 && !save_usage(kUsageFile, entries, count))
        ereport(LOG, (errcode_for_file_access(), errmsg("could not write file \"%s\": %m", kUsageFile)));
}

void startup() {
    if (previous_shmem_startup_hook != nullptr)
        previous_shmem_startup_hook();

    attached = Segment{};  // after a crash this runs again, over pointers into the old memory
    bool found = false;
    LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
    auto *memory = static_cast<char *>(ShmemInitStruct("pg_steadytext", segment_bytes(), &found));
    memory = reinterpret_cast<char *>(round_up(reinterpret_cast<std::size_t>(memory)));
    Assert(memory != nullptr);
    Segment places;
    lay_out(memory, !found, places);
    if (!found) {
        initialize(places);
        recall_stats(places);
        recall_usage(places);
    }
    attached = places;
    LWLockRelease(AddinShmemInitLock);
    if (!IsUnderPostmaster)
        on_shmem_exit(save_stats_at_exit, static_cast<Datum>(0));
}

}  // namespace

void request_segment() {
    pg::on_shmem_request(request);
    previous_shmem_startup_hook = shmem_startup_hook;
    shmem_startup_hook = startup;
}

WorkerPlaces &worker_places() noexcept { return *places_of_workers; }

AnswerCounts &answer_counts() noexcept { return *counts_of_answers; }

PromptSizes &prompt_sizes() noexcept { return *sizes_of_prompts; }

HubLinks &hub_links() noexcept { return *links_of_nodes; }

HubAsks &hub_asks() noexcept { return *asks_of_nodes; }

HubLeases &hub_leases() noexcept { return *leases_of_nodes; }

bool segment_attached() { return attached.header != nullptr; }

const Segment &segment() {
    if (!segment_attached())
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("pg_steadytext is not loaded"),
                        errhint("Add pg_steadytext to shared_preload_libraries and restart the server.")));
    return attached;
}

}  // namespace steadytext::shmem
