// The queue worker: carries out the asynchronous calls of a database, many at once, and leaves when idle.
//
// Started by the launcher (bgworker/queue_workers.cpp) when its database has jobs, as a dynamic background worker. It
// is a session in the background, so it uses src/session as backends do. Regime: pg.
//
// A job goes through four steps. Each is a separate transaction, so a failed step loses nothing:
//
//    claim ──▶ waiting, by role ──start──▶ under way ──advance──▶ over ──record──▶ gone
//
// A job's requests go on between transactions. The database's only worker holds the queue_pid of its row. First of all,
// jobs that an earlier worker left unfinished become pending again. Jobs run as the role that queued them, by
// SetUserIdAndSecContext around each step.
//
// While other workers wait for a place among max_worker_processes, a worker that has had its turn (bgworker/places.hpp)
// begins no more jobs. It leaves once its begun jobs are over, or its patience is. Its patience doubles from worker to
// worker, so that no job begins again without end. Jobs that are not over or not begun by then become pending again;
// none counts as lost.
//
// Roles take turns (role_shares.hpp). While code runs that a job's content may break, the job's id is in the work mark
// (work_mark.hpp): so the next worker knows which job killed this worker.
#include "src/pg/compat.hpp"
#include "bgworker/places.hpp"
#include "bgworker/worker_transaction.hpp"
#include "bgworker/worker_process.hpp"
#include "bgworker/workers.hpp"
#include "src/core/clock.hpp"
#include "src/guc.hpp"
#include "src/pg/wait.hpp"
#include "src/queue/callbacks.hpp"
#include "src/queue/copied_calls.hpp"
#include "src/queue/queue_sql.hpp"
#include "src/queue/recorder.hpp"
#include "src/queue/work_mark.hpp"
#include "src/session/concurrent_calls.hpp"

extern "C" {
#include "access/xact.h"
#include "access/xlog.h"
#include "postmaster/bgworker.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timeout.h"

PGDLLEXPORT void steadytext_queue_main(Datum);
}

#include <algorithm>

namespace steadytext::queue {

using session::ConcurrentCalls;
using session::ModelCall;

namespace {

constexpr std::int64_t kIdleUs = 2'000'000;
constexpr std::int64_t kRenewUs = 10'000'000;
constexpr std::int64_t kTidyUs = 5'000'000;
constexpr std::int64_t kHoldBackUs = 250'000;
constexpr std::int64_t kFirstPauseUs = 100'000;
constexpr std::int64_t kLongestPauseUs = 30'000'000;
constexpr std::int64_t kFirstPatienceUs = 5'000'000;
constexpr std::int64_t kLongestPatienceUs = 120'000'000;  // or the time that a call may take, if that is more
constexpr std::uint32_t kMaxCalls = 256;
constexpr std::uint32_t kLeastClaimed = 32, kMaxClaimed = 2048;
constexpr std::int64_t kClaimedBytes = 32 * 1024;  // estimated memory of a claimed job, unpacked
// A bunch that is finished sooner, or later, changes the size of the next bunch
constexpr std::int64_t kFastUs = 50'000, kSlowUs = 200'000;

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
    bool has_strays = false;      // rows of a worker that is gone could not be given back yet
};
Worker *self;
WorkMark mark;

// ---- roles ----------------------------------------------------------------------------------------------------------

// Becomes the job's role for the code that follows; returns the role before.
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

// A limit stands against the role.
void hold_back(Oid role) {
    const std::int64_t now_us = core::monotonic_us();
    self->held_back.hold(role, kHoldBackUs, now_us);
    self->due_us = std::min(self->due_us, self->held_back.next_us(now_us));
}

// ---- the requests of jobs -------------------------------------------------------------------------------------------

void keep(Part &part) {
    while (self->parts[self->latest = (self->latest + 1) % kMaxCalls] != nullptr) {
    }
    self->parts[self->latest] = &part;
    part.call->tag = self->latest;
}

Part &part_of(const ModelCall *call) {
    Part *part = self->parts[call->tag];
    self->parts[call->tag] = nullptr;
    return *part;
}

void keep_ended(const Part &part) { self->shares.of(part.job->row.session_user).under_way--; }

// Moves the job to the jobs that are over, and gives up its remaining requests.
void move_over(Job *job) {
    for (std::uint32_t i = 0; job->parts != nullptr && i < std::max(job->window, 1U); i++)
        if (Part &part = job->parts[i]; part.call != nullptr) {
            self->calls->give_up(part.call);
            self->parts[part.call->tag] = nullptr;
            part.call = nullptr;
            keep_ended(part);
        }
    self->recorder.add(job);
    if (job->outcome == Outcome::Postponed)
        hold_back(job->row.user);
}

// An error while a job's request is advanced ends the job.
void end_broken(const core::Problem &problem) {
    Job *job = self->in_hand;
    if (const ModelCall *call = self->calls->take_broken(); call != nullptr) {
        Part &part = part_of(call);
        part.call = nullptr;
        job = part.job;
        keep_ended(part);
    }
    self->in_hand = nullptr;
    mark.clear();
    if (job == nullptr)
        return;
    fail(*job, problem);
    move_over(job);
}

// Moving a request on reads data from a daemon, so its job is marked meanwhile; between two requests no job is marked.
void note_moving(const ModelCall *call) {
    if (call == nullptr)
        mark.clear();
    else
        mark.set(self->parts[call->tag]->job->row.id);
}

void start_part(Job &job) {
    get_ready(job);
    if (job.is_over())
        return;
    const Role before = become(job);
    Part &part = begin_part(job);
    keep(part);
    self->shares.of(job.row.session_user).under_way++;
    MemoryContext caller = MemoryContextSwitchTo(part.memory);
    self->calls->start(part.call);
    MemoryContextSwitchTo(caller);
    become(before);
    self->begun_bytes += job.row.is_batch ? static_cast<std::int64_t>(part.text.text.size()) : job.row.bytes;
}

bool is_known(Oid role) { return SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role)); }

// Requests, answers and data made from them fill at most steadytext.queue_memory, apart from running requests. Half of
// it is kept free, for recording batches. All of it is below the worker's context, which is measured now and then.
std::int64_t budget() { return std::int64_t{guc::queue_memory_kb} * 1024 / 2; }

bool has_memory() {
    constexpr std::int64_t kMeasureUs = 20'000;
    if (const std::int64_t now_us = core::monotonic_us();
        self->begun_bytes > budget() / 16 || now_us - self->memory_us > kMeasureUs) {
        self->memory_us = now_us;
        self->begun_bytes = 0;
        self->has_memory = static_cast<std::int64_t>(MemoryContextMemAllocated(self->memory, true)) < budget();
    }
    return self->has_memory || (self->calls->is_idle() && self->recorder.is_empty());
}

// The job whose turn it is begins a request; false if no job may.
bool start_next() {
    Job *job = self->shares.next_job(self->calls->room(), self->calls->count(), core::monotonic_us());
    if (job == nullptr)
        return false;
    self->in_hand = job;
    mark.set(job->row.id);
    if (is_known(job->row.user)) {
        start_part(*job);
    } else {
        core::Problem problem;
        problem.set(core::sqlstate::kUndefinedObject, "the role that queued it does not exist any more");
        fail(*job, problem);
    }
    self->in_hand = nullptr;
    mark.clear();
    if (job->is_over()) {
        move_over(job);
    } else if (!job->has_parts_left()) {
        move(job, self->under_way);
    }
    return true;
}

void start_jobs() {
    while (self->calls->has_room() && has_memory() && start_next()) {
    }
    self->could_start = false;
}

// After a limit refused a part, its job goes back to the jobs with parts left.
void take_answers() {
    while (const ModelCall *call = self->calls->take_ended()) {
        Part &part = part_of(call);
        Job *job = part.job;
        keep_ended(part);
        self->in_hand = job;
        mark.set(job->row.id);
        const Role before = become(*job);
        end_part(part);
        become(before);
        self->in_hand = nullptr;
        mark.clear();
        if (job->is_over())
            move_over(job);
        else if (job->to_repeat > 0 && job->list == &self->under_way)
            move(job, self->shares.of(job->row.session_user).batches);
    }
}

void advance_jobs() {
    take_answers();
    start_jobs();
}

// ---- the table ------------------------------------------------------------------------------------------------------

// The limit for all claimed jobs together, so that they leave room for running jobs.
std::uint32_t most_claimed() {
    return std::clamp(static_cast<std::uint32_t>(budget() / kClaimedBytes / 2), kLeastClaimed, kMaxClaimed);
}

// Doubles the bunch if the last bunch was finished at once, as each transaction has a cost. Shrinks it if the last
// bunch took long, as more urgent jobs cannot overtake claimed jobs.
void size_bunch(std::int64_t now_us) {
    if (self->shares.wants_more(self->bunch) && now_us - self->claimed_us < kFastUs)
        self->bunch *= 2;
    else if (now_us - self->claimed_us > kSlowUs)
        self->bunch = kLeastClaimed;
    const std::uint32_t most = std::max(most_claimed() / std::max(self->shares.active(now_us), 1U), kLeastClaimed);
    self->bunch = std::clamp(self->bunch, kLeastClaimed, most);
}

std::int64_t uncharged;  // the job at which an earlier worker died; 0: none, or it is charged

void charge() {
    if (uncharged != 0 && charge_killer(uncharged))
        uncharged = 0;
}

void claim_jobs() {
    const std::uint64_t changes = self->row->queue_changes.load(std::memory_order_acquire);
    const std::int64_t now_us = core::monotonic_us();
    self->claimed_us = now_us;
    self->due_us = self->held_back.next_us(now_us);
    charge();
    self->could_start |= claim(self->bunch, most_claimed(), self->held_back, uncharged, self->memory, self->shares) > 0;
    self->look_at_once = false;
    self->began_us = std::min(self->began_us, core::monotonic_us());
    self->seen = changes;
    if (self->shares.has_more()) {
        self->due_us = std::min(self->due_us, now_us + kHoldBackUs);  // then it looks for the other roles
        return;
    }
    const NextDue next = next_due(self->held_back);
    if (next.ms == 0)
        self->held_back.hold_locked(next.role, core::monotonic_us());
    const std::int64_t next_us = next.ms > 0 ? now_us + next.ms * 1000 : INT64_MAX;
    self->due_us = std::min(self->held_back.next_us(now_us), next_us);
}

bool is_time_to_record(std::int64_t now_us) { return self->recorder.is_due(now_us, self->calls->is_idle()); }

bool record_over() {
    bool put_off;
    const bool good = self->recorder.record(put_off);
    self->look_at_once |= put_off;                  // the next look tells when the job is due again
    self->could_start |= !self->shares.is_empty();  // now that memory is free again
    return good;
}

// Calls `take` with the lists of all claimed jobs.
template <class Take>
void with_lists(Take take) {
    int count = 2;
    for (const RoleShare *share = self->shares.begin(); share != nullptr; share = share->next)
        count += 3;
    auto **lists = static_cast<const JobList **>(palloc(sizeof(JobList *) * static_cast<std::size_t>(count)));
    lists[0] = &self->recorder.jobs();
    lists[1] = &self->under_way;
    std::size_t at = 2;
    for (const RoleShare *share = self->shares.begin(); share != nullptr; share = share->next)
        for (const JobList *list : {&share->singles, &share->new_batches, &share->batches})
            lists[at++] = list;
    take(JobLists(lists, at));
}

void drop_cancelled() {
    with_lists([](JobLists lists) {
        const JobLists unfinished = lists.subspan(1);
        const std::span<const std::int64_t> ids = lost(unfinished);
        for (const JobList *list : unfinished)
            for (Job *job = list->first, *next; job != nullptr; job = next) {
                next = job->next;
                if (!std::binary_search(ids.begin(), ids.end(), job->row.id))
                    continue;
                core::Problem problem;
                problem.set("57014", "cancelled");
                fail(*job, problem);
                move_over(job);
            }
    });
}

void renew_all() {
    with_lists([](JobLists lists) { renew_leases(lists); });
}

// Recovers jobs that no worker has any more; a database has a single worker at a time.
std::int64_t recover_lost(bool all) {
    const Recovered lost = recover(all);
    self->has_strays = lost.left > 0;
    if (lost.rows > 0)
        self->look_at_once = true;
    return lost.rows;
}

void tidy() {
    (void)recover_lost(self->has_strays);
    fail_orphans();
    self->shares.forget_idle(core::monotonic_us());
    measure(*self->row);
}

void sweep() { self->is_sweeping = delete_old(); }

// Unfinished jobs become pending again.
void give_back_jobs() { give_back(); }

void begin_work() {
    hold_copied();
    charge();
    if (const std::int32_t left = self->left->queue_pid.load(); left != 0)
        give_back_of(left);
    if (recover_lost(true) > 0)
        ereport(LOG, (errmsg("pg_steadytext queue worker: jobs that another worker had left are pending again")));
}

// ---- when each step runs --------------------------------------------------------------------------------------------

bool found_queue;
void look_for_queue() { found_queue = has_queue(); }

// With jobs in hand the worker pauses in its place, unless another worker waits for a place.
void pause_after_failure() {
    static pg::WaitEvent waiting("SteadytextQueuePause");
    self->pause_us = std::clamp(self->pause_us * 2, kFirstPauseUs, kLongestPauseUs);
    const std::int64_t pause_ends_us = core::monotonic_us() + self->pause_us;
    while (!worker::told_to_end()) {
        const std::int64_t until_us = std::min(pause_ends_us, worker::turn_ends_us(self->began_us));
        if (core::monotonic_us() >= until_us)
            return;
        pg::sleep_until(until_us, waiting);
        if (!worker::told_to_end())
            (void)worker::serve_interrupts();
    }
}

// While there is enough to do, changes are still looked at now and then: they may concern a role that has no job here.
bool wants_more(std::int64_t now_us) {
    constexpr std::int64_t kLookUs = 20'000;
    if (self->closed_us != 0 || self->recorder.is_full() || self->shares.waiting() > 2 * most_claimed())
        return false;
    if (self->shares.wants_more(self->bunch) || self->look_at_once)
        return true;
    const bool is_told =
        now_us >= self->due_us || self->row->queue_changes.load(std::memory_order_acquire) != self->seen;
    return is_told && (self->shares.waiting() <= self->bunch / 2 || now_us - self->claimed_us >= kLookUs);
}

bool has_jobs() {
    return !self->shares.is_empty() || !self->under_way.is_empty() || !self->recorder.is_empty() ||
           !self->recorder.locked_rows.is_empty() || self->has_strays;
}

bool has_begun_jobs() {
    return !self->calls->is_idle() || !self->under_way.is_empty() || !self->recorder.is_empty() ||
           self->shares.has_begun();
}

std::int64_t patience_ends_us() {
    const std::int64_t call_us =
        std::int64_t{self->segment->header->callback_deadline_ms.load(std::memory_order_relaxed)} * 1000;
    const std::int64_t patience_us = std::max(self->left->queue_patience_us.load(), kFirstPatienceUs);
    return self->closed_us == 0 ? INT64_MAX
                                : self->closed_us + std::min(patience_us, std::max(call_us, kLongestPatienceUs));
}

void begin_no_job(bool none) {
    self->closed_us = none ? core::monotonic_us() : 0;
    self->shares.begin_no_job(none);
    self->could_start = true;
}

// Whether the worker must leave now. If for a moment nobody waits, as another worker has left, it still begins no jobs.
bool hands_over() {
    constexpr std::int64_t kForgetUs = 2'000'000;
    const std::int64_t now_us = core::monotonic_us();
    if (worker::turn_is_over(self->began_us)) {
        self->awaited_us = now_us;
        if (self->closed_us == 0)
            begin_no_job(true);
    } else if (self->closed_us != 0 && now_us - self->awaited_us > kForgetUs) {
        begin_no_job(false);
    }
    return self->closed_us != 0 && (!has_begun_jobs() || now_us >= patience_ends_us());
}

// If this worker had too little patience, the next worker has more.
void note_patience() {
    if (self->closed_us == 0)
        return;
    const std::int64_t patience_us = std::max(self->left->queue_patience_us.load(), kFirstPatienceUs);
    self->left->queue_patience_us.store(has_begun_jobs() ? std::min(2 * patience_us, std::int64_t{INT32_MAX} * 1000)
                                                         : 0);
}

// Does everything that is due now; false if a transaction failed that should not have failed.
bool work(std::int64_t now_us) {
    core::Problem problem;
    if (const std::uint64_t cancels = self->row->queue_cancels.load(); cancels != self->cancels) {
        self->cancels = cancels;
        if (!worker::run_transaction("looking for cancelled jobs", drop_cancelled))
            return false;
        note_callback_due();  // some may have been released
    }
    const bool can_advance = !self->calls->is_idle() || (!self->shares.is_empty() && self->calls->has_room());
    if (can_advance && !worker::run_transaction("carrying out jobs", advance_jobs, problem, true))
        end_broken(problem);
    if (is_time_to_record(now_us) && !record_over())
        return false;
    if (now_us >= callbacks_due_us())
        look_after_callbacks(now_us);
    if (now_us >= self->recorder.locked_rows.due_us()) {
        if (!self->recorder.locked_rows.try_again(now_us))
            return false;
        self->look_at_once = true;
    }
    if (now_us - self->renewed_us > kRenewUs) {
        self->renewed_us = now_us;
        if (has_jobs() && !worker::run_transaction("renewing leases", renew_all))
            return false;
    }
    if (now_us - self->tidied_us > kTidyUs) {
        self->tidied_us = now_us;
        if (!worker::run_transaction("tidying the queue", tidy))
            return false;
        self->is_sweeping = true;
    }
    if (self->is_sweeping && !worker::run_transaction("deleting old jobs", sweep))
        return false;
    if (wants_more(now_us)) {
        size_bunch(now_us);
        if (!worker::run_transaction("claiming jobs", claim_jobs))
            return false;
    }
    return true;
}

bool is_idle() {
    return self->calls->is_idle() && !has_jobs() && !has_callbacks() && !self->shares.wants_more(self->bunch) &&
           !self->look_at_once && self->row->queue_changes.load(std::memory_order_acquire) == self->seen;
}

bool has_work(std::int64_t now_us) {
    return now_us >= callbacks_due_us() || now_us >= self->recorder.locked_rows.due_us() || self->is_sweeping ||
           is_time_to_record(now_us) || self->could_start || wants_more(now_us);
}

// The next time at which there may be work without an answer or a change.
std::int64_t next_us() {
    const std::int64_t idle_us = core::monotonic_us() + kIdleUs;
    const std::int64_t due_us = self->closed_us == 0 ? self->due_us : patience_ends_us();
    const std::int64_t turn_us = self->closed_us == 0 ? worker::turn_ends_us(self->began_us) : INT64_MAX;
    return std::min({idle_us, due_us, turn_us, callbacks_due_us(), self->recorder.locked_rows.due_us(),
                     self->shares.next_us(), self->recorder.due_us()});
}

// Runs until it is idle, or fails with nothing in hand, or hands its place over.
void run() {
    std::int64_t busy_us = core::monotonic_us();
    while (!worker::told_to_end() && !hands_over()) {
        (void)worker::serve_interrupts();
        const std::int64_t now_us = core::monotonic_us();
        if (work(now_us)) {
            self->pause_us = 0;
            self->row->queue_failures.store(0);
        } else if (worker::run_transaction("looking for a queue", look_for_queue) && !found_queue) {
            return;  // the extension was dropped, or the schema renamed
        } else {
            self->row->queue_failures.fetch_add(1);
            if (!has_begun_jobs())
                return;
            pause_after_failure();
            if (worker::turn_is_over(self->began_us))
                return;
        }
        const bool idle = is_idle();
        if (!idle || self->due_us <= core::monotonic_us() + kIdleUs)
            busy_us = core::monotonic_us();
        if (idle && !self->is_sweeping && core::monotonic_us() - busy_us >= kIdleUs) {
            if (self->tidied_us >= busy_us)
                return;
            self->tidied_us = 0;  // the next tidying deletes old jobs, which nobody does until the next worker comes
            continue;
        }
        if (has_work(core::monotonic_us()))
            continue;
        // The worker is mostly here when it is told to end; then it gives its jobs back before it goes.
        HOLD_INTERRUPTS();
        self->calls->wait(std::max<std::int64_t>(next_us() - core::monotonic_us(), 0));
        RESUME_INTERRUPTS();
    }
}

// ---- beginning and end ----------------------------------------------------------------------------------------------

// Only if the place still belongs to this process; the launcher then checks whether there is more to do.
void withdraw(int, Datum) {
    if (self->calls != nullptr)
        self->calls->give_up();
    if (self->took_over)
        mark.remove();
    std::int32_t mine = MyProcPid;
    if (self->row == nullptr || self->row->queue_pid.load() != mine)
        return;
    if (self->leaves_jobs || self->calls == nullptr || !is_idle())
        self->row->queue_changes.fetch_add(1, std::memory_order_release);  // an extra change for the next worker to see
    const bool later = self->due_us != INT64_MAX;
    self->row->queue_due_us.store(later ? self->due_us : 0);
    self->row->queue_seen.store(self->seen);
    self->row->queue_proc_number.store(-1);
    (void)self->row->queue_pid.compare_exchange_strong(mine, 0);
    pg::set_latch_of(self->segment->header->launcher.proc_number.load());
}

// A worker that is told to end has this long. Jobs that it cannot give back, for example because the table is locked,
// are taken over by its successor.
void give_back_in_time() {
    constexpr int kMaxMs = 500;
    ProcDiePending = false;
    enable_timeout_after(STATEMENT_TIMEOUT, kMaxMs);
    if (!worker::run_transaction("giving jobs back", give_back_jobs) && self->took_over)
        self->left->queue_pid.store(MyProcPid);
    disable_timeout(STATEMENT_TIMEOUT, false);
}

// The worker's statements are small and many, so plans that scan or sort are switched off.
void settle_settings() {
    const char *const off[] = {
        "enable_seqscan",  "enable_sort", "enable_hashjoin",   "enable_mergejoin", "enable_bitmapscan",
        "enable_material", "jit",         "synchronous_commit"};
    for (const char *name : off)
        SetConfigOption(name, "off", PGC_SUSET, PGC_S_OVERRIDE);
    SetConfigOption("plan_cache_mode", "force_generic_plan", PGC_SUSET, PGC_S_OVERRIDE);
    // A limit puts a job off; the table reports this, not the log.
    SetConfigOption("steadytext.on_limit", "null", PGC_SUSET, PGC_S_OVERRIDE);
    SetConfigOption("log_min_messages", "error", PGC_SUSET, PGC_S_OVERRIDE);
}

// Without the extension there are no jobs, whatever was counted before it was dropped.
void forget_jobs(Oid database) {
    const std::uint32_t index = self->segment->databases->find(database);
    if (index == shmem::DatabaseTable::kNone)
        return;
    shmem::DatabaseRow &row = (*self->segment->databases)[index];
    row.queue_seen.store(row.queue_changes.load());
    row.queue_due_us.store(0);
    row.queue_places.forget();
    row.queue_oldest_us.store(0);
}

// False if another worker has the database's queue, or there is none.
bool begin(Oid database) {
    self->segment = &shmem::segment();
    if (!worker::begin_in(database)) {
        forget_jobs(database);
        return false;
    }
    // If the queue is not in its place, as the schema was renamed, the next worker looks for it again.
    if (!worker::run_transaction("looking for a queue", look_for_queue) || !found_queue)
        return false;
    const std::uint32_t index = self->segment->databases->of(database);
    if (index == shmem::DatabaseTable::kNone)
        return false;
    shmem::DatabaseRow &row = (*self->segment->databases)[index];
    std::int32_t none = 0;
    if (!row.queue_pid.compare_exchange_strong(none, MyProcPid))
        return false;
    self->row = &row;
    self->left = &shmem::worker_places().left_in(index, database);
    begin_callbacks(*self->left);
    self->recorder.begin(row);
    row.queue_proc_number.store(pg::my_proc_number());
    row.queue_due_us.store(0);
    return true;
}

}  // namespace

}  // namespace steadytext::queue

void steadytext_queue_main(Datum) {
    using namespace steadytext;
    using namespace steadytext::queue;
    MemoryContext memory = AllocSetContextCreate(TopMemoryContext, "steadytext queue", ALLOCSET_DEFAULT_SIZES);
    MemoryContextSwitchTo(memory);
    self = new (palloc0(sizeof(Worker))) Worker{};
    self->memory = memory;
    before_shmem_exit(withdraw, static_cast<Datum>(0));
    if (!begin(worker::my_order().database))
        proc_exit(0);
    settle_settings();
    self->calls = ConcurrentCalls::make(kMaxCalls);
    self->calls->outlive_transactions();
    self->calls->watch(note_moving);
    self->look_at_once = true;  // there may be jobs
    uncharged = mark.open(MyDatabaseId);
    // A job that killed its worker is charged on disk before it begins again
    SetConfigOption("synchronous_commit", "local", PGC_SUSET, PGC_S_OVERRIDE);
    if (worker::run_transaction("taking over", begin_work)) {
        mark.clear();
        self->took_over = true;
        SetConfigOption("synchronous_commit", "off", PGC_SUSET, PGC_S_OVERRIDE);
        self->left->queue_pid.store(0);
        self->began_us = INT64_MAX - worker::kTurnUs;  // its turn has not begun
        run();
        note_patience();
    } else {
        self->row->queue_failures.fetch_add(1);
    }
    self->leaves_jobs = !is_idle();
    if (!self->leaves_jobs)
        // The counts that it writes stay until the next worker comes
        (void)worker::run_transaction("tidying the queue", tidy);
    self->calls->give_up();
    if (self->leaves_jobs)
        give_back_in_time();
    proc_exit(0);
}
