// Records in bunches, job by job after a failure, and without locked rows: see recorder.hpp.
// Regime: pg.
#include "src/pg/compat.hpp"
#include "src/queue/recorder.hpp"
#include "bgworker/worker_transaction.hpp"
#include "src/core/clock.hpp"
#include "src/queue/queue_sql.hpp"

extern "C" {
#include "utils/memutils.h"
}

#include <algorithm>

namespace steadytext::queue {

namespace {

constexpr std::uint32_t kMany = 1024;  // are recorded at once
constexpr std::int64_t kLongestWaitUs = 50'000;
constexpr std::int64_t kLockingUs = 10'000'000;  // for how long rows are locked first, after a recording had to wait

Recorder *self;  // the recorder of the current transaction

bool run(void (*step)(), core::Problem &problem) {
    SetConfigOption("synchronous_commit", "local", PGC_SUSET, PGC_S_OVERRIDE);  // announced only once it is certain
    SetConfigOption("lock_timeout", "100ms", PGC_SUSET, PGC_S_OVERRIDE);
    const bool good = worker::run_transaction("recording results", step, problem);
    SetConfigOption("lock_timeout", "2s", PGC_SUSET, PGC_S_OVERRIDE);
    SetConfigOption("synchronous_commit", "off", PGC_SUSET, PGC_S_OVERRIDE);
    return good;
}

}  // namespace

void Recorder::add(Job *job) {
    if (over_.is_empty())
        since_us_ = core::monotonic_us();
    move(job, over_);
}

bool Recorder::is_due(std::int64_t now_us, bool idle) const {
    return !over_.is_empty() && (over_.count >= kMany || idle || now_us - since_us_ >= took_us_);
}

void Recorder::note_ended(const pg_uuid_t &request, Oid login) {
    self->row_->queue_places.add(login, -1);
    if (self->ended_count_ < kMost)
        memcpy(&self->ended_keys_[self->ended_count_++], request.data, sizeof(std::uint64_t));
}

void Recorder::record_bunch() {
    if (self->locks_until_us_ > core::monotonic_us())
        lock_rows(self->bunch_, self->busy_);
    queue::record(self->bunch_, note_ended);
}

void Recorder::wake_waiters() {
    const std::uint64_t *begin = ended_keys_, *end = ended_keys_ + ended_count_;
    std::sort(ended_keys_, ended_keys_ + ended_count_);
    if (ended_count_ > 0)
        shmem::segment().queue_waiters->wake(
            [this, begin, end](std::uint64_t key) {
                return ended_count_ == kMost || std::binary_search(begin, end, key);
            },
            pg::set_latch_of);
}

// Rows are locked first from now on; false if they were already.
bool Recorder::begin_locking_first(std::int64_t now_us) {
    if (locks_until_us_ > now_us)
        return false;
    locks_until_us_ = now_us + kLockingUs;
    return true;
}

void Recorder::drop_busy() {
    while (Job *job = busy_.first) {
        locked_rows.add(job->row.id);
        busy_.remove(job);
        MemoryContextDelete(job->memory);
    }
}

bool Recorder::record(bool &put_off) {
    const std::int64_t begin_us = core::monotonic_us();
    while (!over_.is_empty() && !(one_by_one_ && !bunch_.is_empty()))
        move(over_.first, bunch_);
    self = this;
    ended_count_ = 0;
    core::Problem problem;
    const bool good = run(record_bunch, problem);
    // Another transaction has locked a row of the bunch, or the table: no job is at fault.
    const bool is_locked = !good && strcmp(problem.sqlstate, "55P03") == 0;
    const bool tries_again = is_locked && begin_locking_first(begin_us);
    if (good) {
        wake_waiters();
        drop_busy();
    }
    while (!busy_.is_empty())
        move(busy_.first, bunch_);
    put_off = false;
    while (Job *job = bunch_.first) {
        put_off |= job->outcome == Outcome::Retry || job->outcome == Outcome::Postponed;
        if (good) {
            bunch_.remove(job);
            MemoryContextDelete(job->memory);
            continue;
        }
        if (!is_locked && one_by_one_ && job->outcome == Outcome::Done) {
            job->problem = problem;
            job->outcome = Outcome::Failed;
        }
        move(job, over_);
    }
    one_by_one_ = !good && !is_locked;
    took_us_ = std::min(core::monotonic_us() - begin_us, kLongestWaitUs);
    return good || tries_again;
}

}  // namespace steadytext::queue
