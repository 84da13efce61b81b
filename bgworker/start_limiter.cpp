// Pauses, and the lack of places: see start_limiter.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "bgworker/start_limiter.hpp"
#include "bgworker/workers.hpp"
#include "shmem/worker_places.hpp"

extern "C" {
#include "postmaster/bgworker.h"
#include "utils/memutils.h"
}

#include <algorithm>

namespace steadytext::worker {

namespace {

constexpr std::int64_t kFirstPauseUs = 100'000;
constexpr std::int64_t kLongestPauseUs = 30'000'000;
constexpr std::int64_t kLongestNoPlaceUs = 1'000'000;
constexpr std::int64_t kSteadyUs = 1'000'000;      // a worker that ran this long did not fail at starting
constexpr std::int64_t kSayAgainUs = 600'000'000;  // until a lack of places is logged again

// For all workers that this process starts.
std::int64_t no_place_until_us = 0;
std::int64_t no_place_pause_us = 0;
std::int64_t said_us = 0;

void note_no_place(const char *kind, const WorkerOrder &order, std::int64_t now_us) {
    std::int64_t none = 0;
    (void)shmem::segment().header->no_worker_since_us.compare_exchange_strong(none, now_us);
    no_place_pause_us = std::clamp(no_place_pause_us * 2, kFirstPauseUs, kLongestNoPlaceUs);
    no_place_until_us = now_us + no_place_pause_us;
    if (said_us != 0 && now_us - said_us < kSayAgainUs)
        return;
    said_us = now_us;
    ereport(LOG, (errmsg("no background worker is free for pg_steadytext"),
                  errdetail("The first to wait is the %s of database %u.", kind, order.database),
                  errhint("Raise max_worker_processes.")));
}

}  // namespace

bool StartLimiter::is_under_way(std::int64_t now_us, bool failed) {
    if (handle_ == nullptr)
        return false;
    pid_t pid;
    if (GetBackgroundWorkerPid(handle_, &pid) != BGWH_STOPPED)
        return true;
    pfree(handle_);
    handle_ = nullptr;
    no_place_until_us = 0;  // its place is free
    pause_us_ =
        now_us - started_us_ >= kSteadyUs && !failed ? 0 : std::clamp(pause_us_ * 2, kFirstPauseUs, kLongestPauseUs);
    not_before_us_ = now_us + pause_us_;
    return false;
}

bool StartLimiter::is_awaited() const {
    pid_t pid;
    return handle_ != nullptr && GetBackgroundWorkerPid(handle_, &pid) == BGWH_NOT_YET_STARTED;
}

bool StartLimiter::begin(const char *kind, const char *function, const WorkerOrder &order, std::int64_t now_us,
                         std::int64_t &again_us) {
    if (is_under_way(now_us))
        return false;  // its end sets the latch
    const std::int64_t until_us = std::max(not_before_us_, no_place_until_us);
    if (now_us < until_us) {
        again_us = std::min(again_us, until_us);
        return false;
    }
    MemoryContext caller = MemoryContextSwitchTo(TopMemoryContext);
    handle_ = start_worker(kind, function, order);
    MemoryContextSwitchTo(caller);
    if (handle_ == nullptr) {
        note_no_place(kind, order, now_us);
        again_us = std::min(again_us, no_place_until_us);
        return false;
    }
    no_place_pause_us = 0;
    if (shmem::worker_places().waiting.load() == 0)
        shmem::segment().header->no_worker_since_us.store(0);
    wanted_us_ = 0;
    started_us_ = now_us;
    return true;
}

std::int64_t StartLimiter::waits_since(std::int64_t now_us) {
    if (wanted_us_ == 0)
        wanted_us_ = now_us;
    return std::max(wanted_us_, not_before_us_);
}

void StartLimiter::reset() {
    if (handle_ != nullptr)
        pfree(handle_);
    *this = StartLimiter{};
}

void note_no_worker_waits(const shmem::Segment &segment) {
    no_place_until_us = no_place_pause_us = 0;
    segment.header->no_worker_since_us.store(0);
}

}  // namespace steadytext::worker
