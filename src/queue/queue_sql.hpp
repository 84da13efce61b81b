// The queue worker's statements on steadytext_queue; each handles many rows at a time.
//
// Called by src/queue/worker_steps.cpp, each within its own transaction with SPI connected. Regime: pg.
#pragma once

#include "shmem/database_table.hpp"
#include "src/queue/held_back.hpp"
#include "src/queue/role_shares.hpp"

#include <cstdint>

namespace steadytext::queue {

// Whether the database has the extension with its queue.
[[nodiscard]] bool has_queue();

// Claims due pending jobs, the most urgent first: up to `most` of each role, and `most_of_all` in all. Their contexts
// are below `parent`; the jobs are added to `shares`. Roles that are held back, or still have more than half of `most`
// waiting, get none. Returns the number of jobs; marks the share of each role that has more. `uncharged` is 0, or the
// id of a job that must be charged first (charge_killer()).
[[nodiscard]] std::uint32_t claim(std::uint32_t most, std::uint32_t most_of_all, const HeldBack &held_back,
                                  std::int64_t uncharged, MemoryContext parent, RoleShares &shares);
// The next pending job of the other roles: its role, and the milliseconds until it is due; -1: there is none. If a job
// is due just after everything was claimed, its row is locked.
struct NextDue {
    std::int64_t ms;
    Oid role;
};
[[nodiscard]] NextDue next_due(const HeldBack &held_back);

// Records the results of the jobs, announces them, and marks callbacks as due; a job cancelled meanwhile stays
// cancelled. `ended` is called with each ended request and the role that had connected.
void record(const JobList &jobs, void (*ended)(const pg_uuid_t &request, Oid login));

// Locks the jobs' rows until the transaction ends, and moves the jobs whose rows another transaction has locked into
// `busy`.
void lock_rows(JobList &jobs, JobList &busy);

// renew_leases() keeps the jobs of the lists. lost() returns the ids, in order, of jobs that are no longer ours, as
// they were cancelled.
using JobLists = std::span<const JobList *const>;
void renew_leases(JobLists lists);
[[nodiscard]] std::span<const std::int64_t> lost(JobLists lists);

// Gives back all jobs of this worker, except rows that another transaction has locked: they are recovered when their
// lease has run out.
void give_back();
// As give_back(), for an earlier worker that left in good order.
void give_back_of(std::int32_t worker);
// As give_back(), for these rows; returns the rows that this worker keeps because another transaction has locked them.
[[nodiscard]] std::span<const std::int64_t> give_back(std::span<const std::int64_t> ids);
// Gives back jobs of other workers: all of them (`all`: the workers are gone), or jobs whose lease has run out. `left`
// counts rows that still belong to another worker, for example because another transaction has locked them.
struct Recovered {
    std::int64_t rows, left;
};
[[nodiscard]] Recovered recover(bool all);
// Charges the job that a worker was working on when it died: it becomes pending again, or failed if it was the second
// time. Call before recover(). False: it could not be charged, as another transaction has locked its row.
[[nodiscard]] bool charge_killer(std::int64_t id);
// Fails jobs with an unknown role, as nobody could carry them out.
void fail_orphans();
// Looks at the next five thousand rows in the order in which they were queued, and deletes rows that ended longer ago
// than steadytext.queue_retention. False: nothing is left to look at for now, and the next call begins with the first
// row.
[[nodiscard]] bool delete_old();

// Counts the pending and running jobs, by role and in all, and corrects the counts in `row`.
void measure(shmem::DatabaseRow &row);

}  // namespace steadytext::queue
