// Decides when a worker of a database is started, and started again: a limiter for keepers, queue workers and callback
// workers.
//
// Used by the launcher, which begins them all. Regime: pg.
//
// A worker that ended soon after its start failed or found nothing to do: the next worker waits, counted from that end,
// 100 ms, 200 ms, … 30 s. The same holds after a worker that reported a failure. If a worker found no free place among
// max_worker_processes, all workers are concerned: no process asks again for a while, or until a worker of its own
// ends. This is logged once, and steadytext_health_check() reports it as long as it lasts (Header::no_worker_since_us).
#pragma once

#include "src/pg/postgres.hpp"
#include "shmem/segment.hpp"

#include <cstdint>

struct BackgroundWorkerHandle;

namespace steadytext::worker {

// The order that a worker gets, in bgw_extra.
struct WorkerOrder {
    Oid database = InvalidOid;
    Oid role = InvalidOid;         // of a callback worker
    std::uint32_t place = 0;       // of a callback worker
    std::int32_t deadline_ms = 0;  // for a callback
};

class StartLimiter {
public:
    // The started worker has not ended yet, or has not even begun. `failed`: if it has ended, it counts as failed,
    // however long it ran.
    [[nodiscard]] bool is_under_way(std::int64_t now_us, bool failed = false);
    [[nodiscard]] bool was_begun() const { return handle_ != nullptr; }
    [[nodiscard]] bool is_awaited() const;
    // Starts a worker if none is running and the pause is over; lowers `again_us` to when to ask again. False: not now.
    bool begin(const char *kind, const char *function, const WorkerOrder &order, std::int64_t now_us,
               std::int64_t &again_us);
    // Since when a worker has been wanted: from the first call on, or from the end of a pause before it.
    [[nodiscard]] std::int64_t waits_since(std::int64_t now_us);
    // Starts anew for another database.
    void reset();

private:
    BackgroundWorkerHandle *handle_ = nullptr;  // of the worker that was started
    std::int64_t started_us_ = 0;
    std::int64_t not_before_us_ = 0;
    std::int64_t pause_us_ = 0;
    std::int64_t wanted_us_ = 0;  // 0: no worker is wanted
};

// The launcher has started all workers that it wants, after some had waited.
void note_no_worker_waits(const shmem::Segment &segment);

}  // namespace steadytext::worker
