// What the queue worker reads and writes in the table: see worker.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/queue/worker.hpp"
#include "src/core/clock.hpp"
#include "src/queue/copied_calls.hpp"
#include "src/queue/queue_sql.hpp"

#include <algorithm>

namespace steadytext::queue {

std::int64_t uncharged;

namespace {

constexpr std::int64_t kClaimedBytes = 32 * 1024;  // estimated memory of a claimed job, unpacked
// A bunch that is finished sooner, or later, changes the size of the next bunch
constexpr std::int64_t kFastUs = 50'000, kSlowUs = 200'000;

}  // namespace

std::uint32_t most_claimed() {
    return std::clamp(static_cast<std::uint32_t>(budget() / kClaimedBytes / 2), kLeastClaimed, kMaxClaimed);
}

void size_bunch(std::int64_t now_us) {
    if (self->shares.wants_more(self->bunch) && now_us - self->claimed_us < kFastUs)
        self->bunch *= 2;
    else if (now_us - self->claimed_us > kSlowUs)
        self->bunch = kLeastClaimed;
    const std::uint32_t most = std::max(most_claimed() / std::max(self->shares.active(now_us), 1U), kLeastClaimed);
    self->bunch = std::clamp(self->bunch, kLeastClaimed, most);
}

namespace {

void charge() {
    if (uncharged != 0 && charge_killer(uncharged))
        uncharged = 0;
}

}  // namespace

void claim_jobs() {
    const std::uint64_t changes = self->row->queue_changes.load(std::memory_order_acquire);
    const std::int64_t now_us = core::monotonic_us();
    self->claimed_us = now_us;
    self->due_us = self->held_back.next_us(now_us);
    charge();
    if (!self->is_home)
        self->is_home = hold_copied();
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

namespace {

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

}  // namespace

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

namespace {

// Recovers jobs that no worker has any more; a database has a single worker at a time.
std::int64_t recover_lost(bool all) {
    const Recovered lost = recover(all);
    self->has_strays = lost.left > 0;
    if (lost.rows > 0)
        self->look_at_once = true;
    return lost.rows;
}

}  // namespace

void tidy() {
    (void)recover_lost(self->has_strays);
    fail_orphans();
    self->shares.forget_idle(core::monotonic_us());
    measure(*self->row);
}

void sweep() { self->is_sweeping = delete_old(); }

void begin_work() {
    self->is_home = hold_copied();
    charge();
    if (const std::int32_t left = self->left->queue_pid.load(); left != 0)
        give_back_of(left);
    if (recover_lost(true) > 0)
        ereport(LOG, (errmsg("pg_steadytext queue worker: jobs that another worker had left are pending again")));
}

}  // namespace steadytext::queue
