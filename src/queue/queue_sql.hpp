// What the queue worker does to steadytext_queue, each a statement for many rows at a time.
//
// Called by src/queue/worker_main.cpp, each within a transaction of its own with SPI connected. Regime: pg.
#pragma once

#include "shmem/database_table.hpp"
#include "src/queue/held_back.hpp"
#include "src/queue/role_shares.hpp"

#include <cstdint>

namespace steadytext::queue {

// Whether the database has the extension, with its queue.
[[nodiscard]] bool has_queue();

// Takes up to `most` pending jobs of each role that are due, and `most_of_all` in all, the most urgent first, into contexts below `parent`; adds them to `shares`. Roles
// that are held back, or still have more than half of `most` waiting, get none. How many of all; a share is told if its role has more.
// `uncharged` is no id, or that of a job that must be charged first (charge_killer()).
[[nodiscard]] std::uint32_t claim(std::uint32_t most, std::uint32_t most_of_all, const HeldBack &held_back, std::int64_t uncharged, MemoryContext parent,
                                  RoleShares &shares);
// The next pending job of the other roles: milliseconds until it is due, -1: there is none; and whose it is. One that is due, just after all
// that could be had were claimed, is locked.
struct NextDue {
    std::int64_t ms;
    Oid role;
};
[[nodiscard]] NextDue next_due(const HeldBack &held_back);

// Records what came of the jobs, announces it, and marks callbacks as due; those cancelled in the meantime stay so. `ended` is called
// with each request that has ended, and its role.
void record(const JobList &jobs, void (*ended)(const pg_uuid_t &request, Oid role));

// Locks the jobs' rows until the transaction ends, and moves into `busy` the jobs whose rows another transaction has locked.
void lock_rows(JobList &jobs, JobList &busy);

// Keeps the jobs of the lists; and which of them are no longer ours, for they were cancelled: their ids in order.
using JobLists = std::span<const JobList *const>;
void renew_leases(JobLists lists);
[[nodiscard]] std::span<const std::int64_t> lost(JobLists lists);

// Gives back all that this worker has, but for rows that another transaction has locked: those are recovered when their lease has run out.
void give_back();
// The same of a worker before this one, which left in good order.
void give_back_of(std::int32_t worker);
// The same of these rows; returns those that it still has, for another transaction has locked them.
[[nodiscard]] std::span<const std::int64_t> give_back(std::span<const std::int64_t> ids);
// Gives back what other workers had: those that are gone (`all`), or whose lease has run out. `left` are rows that are another worker's still,
// for another transaction has locked them, say.
struct Recovered {
    std::int64_t rows, left;
};
[[nodiscard]] Recovered recover(bool all);
// A worker died while it was at work on this very job; the job is pending again, or failed if that was the second time. Before recover().
// False: it could not be charged, for another transaction has locked its row.
[[nodiscard]] bool charge_killer(std::int64_t id);
// Fails jobs whose role is not known: nobody could carry them out.
void fail_orphans();
// Looks at the next five thousand rows in the order they were queued, and deletes those that ended longer ago than
// steadytext.queue_retention. False: there is no more to look at for now, and the next call begins with the first row.
[[nodiscard]] bool delete_old();
// Deletes what was asked of callbacks whose requests were deleted by hand.
void drop_proofs();

// Counts what is pending or under way, by role and in all, and puts right what the row has of it.
void measure(shmem::DatabaseRow &row);

}  // namespace steadytext::queue
