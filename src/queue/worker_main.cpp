// The queue worker: carries out one database's asynchronous calls, many at once, and leaves when idle.
//
// Started by the launcher (bgworker/queue_workers.cpp) when its database has jobs, as a dynamic background worker; it is a session
// in the background, so it uses src/session as backends do. Regime: pg.
//
// A job goes through four steps, each a transaction of its own, so that one that fails loses nothing:
//
//     claim ──▶ backlog ──start──▶ under way ──advance──▶ over ──record──▶ gone
//
// Its requests go on between transactions. A database's only worker holds its row's queue_pid; what an earlier one left
// unfinished goes back to pending first of all. Jobs run as the role that queued them, by SetUserIdAndSecContext around each step.
#include "src/pg/compat.hpp"
#include "bgworker/step.hpp"
#include "bgworker/worker_process.hpp"
#include "src/core/clock.hpp"
#include "src/guc.hpp"
#include "src/queue/queue_sql.hpp"
#include "src/session/many_calls.hpp"

extern "C" {
#include "access/xact.h"
#include "access/xlog.h"
#include "postmaster/bgworker.h"
#include "utils/memutils.h"

PGDLLEXPORT void steadytext_queue_main(Datum);
}

#include <algorithm>

namespace steadytext::queue {

using session::Inquiry;
using session::ManyCalls;

namespace {

constexpr std::int64_t kIdleUs = 2'000'000;
constexpr std::int64_t kRenewUs = 10'000'000;
constexpr std::int64_t kTidyUs = 5'000'000;
constexpr std::int64_t kHoldBackUs = 250'000;
constexpr std::int64_t kFirstPauseUs = 100'000;
constexpr std::int64_t kLongestPauseUs = 30'000'000;
constexpr std::uint32_t kMostCalls = 256;
constexpr std::uint32_t kLeastClaimed = 32, kMostClaimed = 2048;
constexpr std::int64_t kFastUs = 50'000, kSlowUs = 200'000;  // a bunch that is gone sooner, or later, changes the size of the next
constexpr std::uint32_t kMostEnded = 4096;

struct Worker {
    const shmem::Segment *segment;
    shmem::DatabaseRow *row;
    MemoryContext memory;
    ManyCalls *calls;
    JobList backlog, under_way, over, recording;
    Job *starting;             // the job whose part is being begun
    HeldBack held_back;
    std::uint32_t bunch = kLeastClaimed;  // how many to claim at once
    std::int64_t claimed_us = 0;
    bool last_was_full = false;
    bool leaves_jobs = false;  // when told to end before all is done
    std::uint64_t seen = 0, cancels = 0;
    std::int64_t due_us = INT64_MAX;  // when to look again without being told
    std::int64_t renewed_us = 0, tidied_us = 0;
    std::int64_t pause_us = 0;
    bool one_by_one = false;   // recording failed
    std::uint64_t ended_keys[kMostEnded];
    std::uint32_t ended_count = 0;
};
Worker *self;

// ---- roles -------------------------------------------------------------------------------------------------------------

// What follows is done as the job's role; returns who did it before.
struct Role {
    Oid user;
    int security;
};
Role become(const Job &job) {
    Role before;
    GetUserIdAndSecContext(&before.user, &before.security);
    SetUserIdAndSecContext(job.row.user, before.security | SECURITY_LOCAL_USERID_CHANGE);
    return before;
}
void become(const Role &role) { SetUserIdAndSecContext(role.user, role.security); }

// ---- jobs --------------------------------------------------------------------------------------------------------------

void hold_back(const Job &job) {
    int place = 0;
    for (int i = 1; i < HeldBack::kMost; i++)
        if (self->held_back.until_us[i] < self->held_back.until_us[place])
            place = i;
    strlcpy(NameStr(self->held_back.names[place]), job.row.user_name.data(), NAMEDATALEN);
    self->held_back.until_us[place] = core::monotonic_us() + kHoldBackUs;
    self->due_us = std::min(self->due_us, self->held_back.until_us[place]);
}

void move(Job *job, JobList &to) {
    job->list->remove(job);
    to.add(job);
}

// To those that are over; what is left of its requests is given up.
void move_over(Job *job) {
    for (std::uint32_t i = 0; i < job->begun; i++)
        if (job->parts[i].inquiry != nullptr)
            self->calls->give_up(job->parts[i].inquiry);
    move(job, self->over);
    if (job->outcome == Outcome::Postponed)
        hold_back(*job);
}

Job *job_of(const Inquiry *inquiry, Part *&part) {
    for (JobList *list : {&self->under_way, &self->backlog})
        for (Job *job = list->first; job != nullptr; job = job->next)
            if ((part = part_of(*job, inquiry)) != nullptr)
                return job;
    return nullptr;
}

// An error while a job's request was moved on is the job's end.
void end_broken(const core::Problem &problem) {
    const Inquiry *inquiry = self->calls->take_broken();
    Part *part = nullptr;
    Job *job = self->starting;
    if (inquiry != nullptr && (job = job_of(inquiry, part)) != nullptr)
        part->inquiry = nullptr;
    self->starting = nullptr;
    if (job == nullptr)
        return;
    fail(*job, problem);
    move_over(job);
}

void start_jobs() {
    while (!self->backlog.is_empty() && self->calls->has_room()) {
        Job *job = self->backlog.first;
        self->starting = job;
        if (!OidIsValid(job->row.user)) {
            core::Problem problem;
            problem.set(core::sqlstate::kUndefinedObject, "role \"%s\" does not exist", job->row.user_name.data());
            fail(*job, problem);
        }
        if (!job->is_over()) {
            MemoryContext caller = MemoryContextSwitchTo(job->memory);
            const Role before = become(*job);
            self->calls->start(begin_part(*job));
            become(before);
            MemoryContextSwitchTo(caller);
        }
        self->starting = nullptr;
        if (job->is_over()) {
            move_over(job);
        } else if (job->begun == job->part_count) {
            move(job, self->under_way);
        }
    }
}

void advance_jobs() {
    while (Inquiry *inquiry = self->calls->take_ended()) {
        Part *part;
        Job *job = job_of(inquiry, part);
        if (job == nullptr)
            continue;
        const Role before = become(*job);
        end_part(*job, *part);
        become(before);
        if (job->is_over())
            move_over(job);
    }
}

// ---- the table ---------------------------------------------------------------------------------------------------------

// Twice as many at once if the last bunch was gone at once, for a transaction has its price; fewer if it took long, for who
// waits here cannot be overtaken.
void size_bunch(std::int64_t now_us) {
    if (self->last_was_full && now_us - self->claimed_us < kFastUs)
        self->bunch *= 2;
    else if (now_us - self->claimed_us > kSlowUs)
        self->bunch = kLeastClaimed;
    self->bunch = std::clamp(self->bunch, kLeastClaimed, kMostClaimed);
}

void claim_jobs() {
    const std::uint64_t changes = self->row->queue_changes.load(std::memory_order_acquire);
    const std::int64_t now_us = core::monotonic_us();
    self->claimed_us = now_us;
    self->due_us = INT64_MAX;
    for (const std::int64_t until_us : self->held_back.until_us)
        if (until_us > now_us)
            self->due_us = std::min(self->due_us, until_us);
    const std::uint32_t count = claim(self->bunch, self->held_back, self->memory, self->backlog);
    self->last_was_full = count == self->bunch;
    if (self->last_was_full)
        return;
    self->seen = changes;
    if (const std::int64_t due_ms = next_due_ms(self->held_back); due_ms >= 0)
        self->due_us = std::min(self->due_us, now_us + std::max<std::int64_t>(due_ms, 1) * 1000);
}

void note_ended(const pg_uuid_t &request) {
    if (self->ended_count == kMostEnded)
        return;
    memcpy(&self->ended_keys[self->ended_count++], request.data, sizeof(std::uint64_t));
}

void wake_waiters() {
    std::sort(self->ended_keys, self->ended_keys + self->ended_count);
    if (self->ended_count > 0)
        self->segment->queue_waiters->wake(
            [](std::uint64_t key) {
                return self->ended_count == kMostEnded ||
                       std::binary_search(self->ended_keys, self->ended_keys + self->ended_count, key);
            },
            pg::set_latch_of);
    self->row->queue_length.fetch_sub(self->ended_count);
    self->ended_count = 0;
}

void record_jobs() {
    SetConfigOption("synchronous_commit", "local", PGC_SUSET, PGC_S_OVERRIDE);
    record(self->recording, note_ended);
}

// It is announced once it is certain: on disk. A result that cannot be recorded, for the database's encoding lacks a character, say, is a failure.
bool record_over() {
    while (!self->over.is_empty() && !(self->one_by_one && !self->recording.is_empty())) {
        move(self->over.first, self->recording);
    }
    self->ended_count = 0;
    core::Problem problem;
    const bool good = worker::run_step("recording results", record_jobs, problem);
    SetConfigOption("synchronous_commit", "off", PGC_SUSET, PGC_S_OVERRIDE);
    if (good)
        wake_waiters();
    while (Job *job = self->recording.first) {
        if (job->outcome == Outcome::Retry || job->outcome == Outcome::Postponed)
            self->due_us = 0;  // when it is due again the next look will tell
        if (good) {
            self->recording.remove(job);
            MemoryContextDelete(job->memory);
            continue;
        }
        if (self->one_by_one && job->outcome == Outcome::Done) {
            job->problem = problem;
            job->outcome = Outcome::Failed;
        }
        move(job, self->over);
    }
    self->one_by_one = !good;
    return good;
}

void drop_cancelled() {
    for (JobList *list : {&self->under_way, &self->backlog})
        for (Job *job = list->first, *next; job != nullptr; job = next) {
            next = job->next;
            if (is_still_ours(job->row.id))
                continue;
            core::Problem problem;
            problem.set("57014", "cancelled");
            fail(*job, problem);
            move_over(job);
        }
}

void tidy() {
    if (recover(false) > 0)
        self->due_us = 0;
    (void)delete_old();
    const Measured measured = measure();
    self->row->queue_length.store(measured.length);
    self->row->queue_oldest_us.store(measured.oldest_us);
}

// What is left unfinished is pending again.
void give_back_jobs() { give_back(); }

void begin_work() {
    if (has_queue() && recover(true) > 0)
        ereport(LOG, (errmsg("pg_steadytext queue worker: jobs that another worker had left are pending again")));
}

// ---- when it does it ---------------------------------------------------------------------------------------------------

void pause_after_failure() {
    static uint32 waiting = 0;
    if (waiting == 0)
        waiting = pg::wait_event("SteadytextQueuePause");
    self->row->queue_failures.fetch_add(1);
    self->pause_us = std::clamp(self->pause_us * 2, kFirstPauseUs, kLongestPauseUs);
    const std::int64_t until_us = core::monotonic_us() + self->pause_us;
    for (std::int64_t now_us; !worker::shutdown_requested() && (now_us = core::monotonic_us()) < until_us;) {
        (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, static_cast<long>((until_us - now_us) / 1000) + 1, waiting);
        ResetLatch(MyLatch);
        (void)worker::serve_interrupts();
    }
}

bool wants_more(std::int64_t now_us) {
    return self->backlog.count < self->bunch / 2 + 1 && self->over.count < kMostEnded / 2 &&
           (self->last_was_full || now_us >= self->due_us ||
            self->row->queue_changes.load(std::memory_order_acquire) != self->seen);
}

// Everything there is to do now; false if a transaction failed that should not have.
bool work(std::int64_t now_us) {
    core::Problem problem;
    if (const std::uint64_t cancels = self->row->queue_cancels.load(); cancels != self->cancels) {
        self->cancels = cancels;
        if (!worker::run_step("looking for cancelled jobs", drop_cancelled))
            return false;
    }
    if (!self->calls->is_idle() && !worker::run_step("taking answers", advance_jobs, problem, true))
        end_broken(problem);
    if (!self->over.is_empty() && !record_over())
        return false;
    if (now_us - self->renewed_us > kRenewUs) {
        self->renewed_us = now_us;
        if (!(self->under_way.is_empty() && self->backlog.is_empty()) && !worker::run_step("renewing leases", renew_leases))
            return false;
    }
    if (now_us - self->tidied_us > kTidyUs) {
        self->tidied_us = now_us;
        if (!worker::run_step("tidying the queue", tidy))
            return false;
    }
    if (wants_more(now_us)) {
        size_bunch(now_us);
        if (!worker::run_step("claiming jobs", claim_jobs))
            return false;
    }
    if (!self->backlog.is_empty() && self->calls->has_room() && !worker::run_step("starting jobs", start_jobs, problem, true))
        end_broken(problem);
    return true;
}

bool is_idle() {
    return self->calls->is_idle() && self->backlog.is_empty() && self->under_way.is_empty() && self->over.is_empty() &&
           !self->last_was_full && self->row->queue_changes.load(std::memory_order_acquire) == self->seen;
}

void run_until_idle() {
    std::int64_t busy_us = core::monotonic_us();
    while (!worker::shutdown_requested()) {
        (void)worker::serve_interrupts();
        const std::int64_t now_us = core::monotonic_us();
        if (work(now_us)) {
            self->pause_us = 0;
            self->row->queue_failures.store(0);
        } else {
            pause_after_failure();
        }
        const bool idle = is_idle();
        if (!idle || self->due_us <= core::monotonic_us() + kIdleUs)
            busy_us = core::monotonic_us();
        if (idle && core::monotonic_us() - busy_us >= kIdleUs)
            return;
        if (!self->over.is_empty() || (self->backlog.count > 0 && self->calls->has_room()) || wants_more(core::monotonic_us()))
            continue;
        self->calls->wait(std::min({kIdleUs, std::max<std::int64_t>(self->due_us - core::monotonic_us(), 0)}));
    }
}

// ---- beginning and end -------------------------------------------------------------------------------------------------

// Only if the place is still ours; the launcher looks whether there is more to do.
void withdraw(int, Datum) {
    if (self->calls != nullptr)
        self->calls->give_up();
    std::int32_t mine = MyProcPid;
    if (self->row == nullptr || self->row->queue_pid.load() != mine)
        return;
    if (self->leaves_jobs || !is_idle())
        self->row->queue_changes.fetch_add(1, std::memory_order_release);  // one more to see, by the next worker
    const bool later = self->due_us != INT64_MAX;
    self->row->queue_due_us.store(later ? self->due_us : 0);
    self->row->queue_seen.store(self->seen);
    self->row->queue_proc_number.store(-1);
    (void)self->row->queue_pid.compare_exchange_strong(mine, 0);
    pg::set_latch_of(self->segment->header->launcher.proc_number.load());
}

// The worker's statements are small and many.
void settle_settings() {
    const char *const off[] = {"enable_seqscan", "enable_sort", "enable_hashjoin", "enable_mergejoin", "enable_bitmapscan",
                               "enable_material", "jit", "synchronous_commit"};
    for (const char *name : off)
        SetConfigOption(name, "off", PGC_SUSET, PGC_S_OVERRIDE);
    SetConfigOption("plan_cache_mode", "force_generic_plan", PGC_SUSET, PGC_S_OVERRIDE);
    // A limit puts a job off; that is for the table to tell, not for the log.
    SetConfigOption("steadytext.on_limit", "null", PGC_SUSET, PGC_S_OVERRIDE);
    SetConfigOption("log_min_messages", "error", PGC_SUSET, PGC_S_OVERRIDE);
}

bool found_queue;
void look_for_queue() { found_queue = has_queue(); }

// False if another has the database's queue, or there is none.
bool begin(Oid database) {
    self->segment = &shmem::segment();
    worker::begin_in(database);
    if (!worker::run_step("looking for a queue", look_for_queue) || !found_queue)
        return false;
    const std::uint32_t index = self->segment->databases->of(database);
    if (index == shmem::DatabaseTable::kNone)
        return false;
    shmem::DatabaseRow &row = self->segment->databases->rows[index];
    std::int32_t none = 0;
    if (!row.queue_pid.compare_exchange_strong(none, MyProcPid))
        return false;
    self->row = &row;
    row.queue_proc_number.store(pg::my_proc_number());
    row.queue_due_us.store(0);
    return true;
}

}  // namespace

}  // namespace steadytext::queue

void steadytext_queue_main(Datum argument) {
    using namespace steadytext;
    using namespace steadytext::queue;
    MemoryContext memory = AllocSetContextCreate(TopMemoryContext, "steadytext queue", ALLOCSET_DEFAULT_SIZES);
    MemoryContextSwitchTo(memory);
    self = new (palloc0(sizeof(Worker))) Worker{};
    self->memory = memory;
    before_shmem_exit(withdraw, static_cast<Datum>(0));
    if (!begin(DatumGetObjectId(argument)))
        proc_exit(0);
    settle_settings();
    self->calls = ManyCalls::make(kMostCalls);
    self->calls->outlive_transactions();
    self->last_was_full = true;  // there may be something
    self->row->queue_failures.store(0);
    if (worker::run_step("taking over", begin_work))
        run_until_idle();
    self->leaves_jobs = !is_idle();
    self->calls->give_up();
    if (self->leaves_jobs)
        (void)worker::run_step("giving jobs back", give_back_jobs);
    proc_exit(0);
}
