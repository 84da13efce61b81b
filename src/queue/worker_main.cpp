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
#include "src/queue/queue_sql.hpp"
#include "src/queue/worker.hpp"

extern "C" {
#include "access/xact.h"
#include "access/xlog.h"
#include "postmaster/bgworker.h"
#include "utils/memutils.h"
#include "utils/timeout.h"

PGDLLEXPORT void steadytext_queue_main(Datum);
}

#include <algorithm>

namespace steadytext::queue {

Worker *self;
WorkMark mark;

namespace {

constexpr std::int64_t kIdleUs = 2'000'000;
constexpr std::int64_t kRenewUs = 10'000'000;
constexpr std::int64_t kTidyUs = 5'000'000;
constexpr std::int64_t kFirstPauseUs = 100'000;
constexpr std::int64_t kLongestPauseUs = 30'000'000;
constexpr std::int64_t kFirstPatienceUs = 5'000'000;
constexpr std::int64_t kLongestPatienceUs = 120'000'000;  // or the time that a call may take, if that is more

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
    if (!worker::run_transaction("giving jobs back", give_back) && self->took_over)
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
