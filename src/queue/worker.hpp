// The queue worker's state, and its steps, each of which runs in a transaction of its own.
//
// Used by worker_main.cpp, which says when each step runs; the steps are in worker_jobs.cpp and worker_steps.cpp.
// Regime: pg.
#pragma once

#include "shmem/segment.hpp"
#include "shmem/worker_places.hpp"
#include "src/queue/held_back.hpp"
#include "src/queue/recorder.hpp"
#include "src/queue/role_shares.hpp"
#include "src/queue/work_mark.hpp"
#include "src/session/concurrent_calls.hpp"

namespace steadytext::queue {

using session::ConcurrentCalls;
using session::ModelCall;

inline constexpr std::int64_t kHoldBackUs = 250'000;
inline constexpr std::uint32_t kMaxCalls = 256;
inline constexpr std::uint32_t kLeastClaimed = 32, kMaxClaimed = 2048;

struct Worker {
    const shmem::Segment *segment;
    shmem::DatabaseRow *row;
    shmem::WorkerPlaces::Left *left;
    MemoryContext memory;
    ConcurrentCalls *calls;
    RoleShares shares;  // jobs with parts left to begin
    JobList under_way;
    Recorder recorder;
    std::int64_t memory_us = 0;  // when memory was measured; begun_bytes counts the bytes begun since
    std::int64_t begun_bytes = 0;
    bool has_memory = true;
    Part *parts[kMaxCalls];    // with a running request, by its call's tag
    std::uint32_t latest = 0;  // the last place taken in `parts`
    Job *in_hand;              // the job of the part that is being begun or ended
    HeldBack held_back;
    std::uint32_t bunch = kLeastClaimed;  // how many jobs to claim at once
    std::int64_t claimed_us = 0;
    bool could_start = false;   // a part may be ready to begin
    bool took_over = false;     // also: the mark of the earlier worker has been handled
    bool look_at_once = false;  // look for jobs even without a change
    bool leaves_jobs = false;   // it was told to end before all jobs were done
    std::uint64_t seen = 0, cancels = 0;
    std::int64_t due_us = INT64_MAX;  // when to look again without a change
    std::int64_t renewed_us = 0, tidied_us = 0;
    std::int64_t pause_us = 0;
    std::int64_t began_us = 0;    // start of its turn: its first look
    std::int64_t awaited_us = 0;  // when another worker last waited for its place
    std::int64_t closed_us = 0;   // since when no job begins, as its turn is over; 0: jobs begin
    bool is_sweeping = false;     // there may be more rows to delete
    bool is_home = false;         // nothing is left of a queue that came with a copy of a database
    bool has_strays = false;      // rows of a worker that is gone could not be given back yet
};
extern Worker *self;
extern WorkMark mark;

// ---- the requests of jobs (worker_jobs.cpp) ----

// Takes the answers that have come, and begins requests.
void advance_jobs();
// An error while a job's request is advanced ends the job.
void end_broken(const core::Problem &problem);
// Moving a request on reads data from a daemon, so its job is marked meanwhile; between two requests no job is marked.
void note_moving(const ModelCall *call);
// Moves the job to the jobs that are over, and gives up its remaining requests.
void move_over(Job *job);
// Requests, answers and data made from them fill at most steadytext.queue_memory, apart from running requests. Half of
// it is kept free, for recording batches. All of it is below the worker's context, which is measured now and then.
[[nodiscard]] std::int64_t budget();

// ---- the table (worker_steps.cpp) ----

extern std::int64_t uncharged;  // the job at which an earlier worker died; 0: none, or it is charged

// The limit for all claimed jobs together, so that they leave room for running jobs.
[[nodiscard]] std::uint32_t most_claimed();
// Doubles the bunch if the last bunch was finished at once, as each transaction has a cost. Shrinks it if the last
// bunch took long, as more urgent jobs cannot overtake claimed jobs.
void size_bunch(std::int64_t now_us);
void claim_jobs();
[[nodiscard]] bool is_time_to_record(std::int64_t now_us);
[[nodiscard]] bool record_over();
void drop_cancelled();
void renew_all();
void tidy();
void sweep();
// Jobs that an earlier worker left become pending again.
void begin_work();

}  // namespace steadytext::queue
