// When a worker of one database is begun, and begun again: the one limiter of keepers, queue workers and callback workers.
//
// Used by the launcher, which begins them all. Regime: pg.
//
// A worker that ended soon after it began failed, or found nothing to do: the next one waits, counted from that end, 100 ms, 200 ms, … 30 s. So does
// the next after one that says it failed.
// A worker that found no free place among max_worker_processes is everybody's concern: no process asks again for a while, or until one of its own
// workers ends, it is said once, and steadytext_health_check() says it as long as it lasts (Header::no_worker_since_us).
#pragma once

#include "src/pg/postgres.hpp"
#include "shmem/segment.hpp"

#include <cstdint>

struct BackgroundWorkerHandle;

namespace steadytext::worker {

// What workers are told, in bgw_extra.
struct WorkerOrder {
    Oid database = InvalidOid;
    Oid role = InvalidOid;            // of a callback worker
    std::uint32_t place = 0;          // of a callback worker
    std::int32_t deadline_ms = 0;     // for a callback
};

class StartLimiter {
public:
    // A worker it began has not ended yet; or it has not even come.
    // `failed`: if it has ended, it had failed, however long it ran.
    [[nodiscard]] bool is_under_way(std::int64_t now_us, bool failed = false);
    [[nodiscard]] bool was_begun() const { return handle_ != nullptr; }
    [[nodiscard]] bool is_awaited() const;
    // Begins a worker if none is under way and the pause is over; `again_us` is lowered to when to ask again. False: not now.
    bool begin(const char *kind, const char *function, const WorkerOrder &order, std::int64_t now_us, std::int64_t &again_us);
    // Since when one is wanted, with this the first time it is, or when the pause is over that comes before.
    [[nodiscard]] std::int64_t waits_since(std::int64_t now_us);
    // For another database.
    void reset();

private:
    BackgroundWorkerHandle *handle_ = nullptr;  // of the worker that was begun
    std::int64_t started_us_ = 0;
    std::int64_t not_before_us_ = 0;
    std::int64_t pause_us_ = 0;
    std::int64_t wanted_us_ = 0;  // 0: none is
};

// The launcher has begun all workers that it wants, after some had waited.
void note_no_worker_waits(const shmem::Segment &segment);

}  // namespace steadytext::worker
