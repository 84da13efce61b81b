// What the queue worker does to steadytext_queue, each a statement for many rows at a time.
//
// Called by src/queue/worker_main.cpp, each within a transaction of its own with SPI connected. Regime: pg.
#pragma once

#include "src/queue/job.hpp"

#include <cstdint>
#include <initializer_list>

namespace steadytext::queue {

// Whose jobs are left alone for now: a rate limit stands against them.
struct HeldBack {
    static constexpr int kMost = 16;
    NameData names[kMost];
    std::int64_t until_us[kMost] = {};  // CLOCK_MONOTONIC
};

// Whether the database has the extension, with its queue.
[[nodiscard]] bool has_queue();

// Takes up to `most` pending jobs that are due, the most urgent first, into contexts below `parent`; appends them to `jobs`.
[[nodiscard]] std::uint32_t claim(std::uint32_t most, const HeldBack &held_back, MemoryContext parent, JobList &jobs);
// Milliseconds until the next pending job of others is due; -1: there is none.
[[nodiscard]] std::int64_t next_due_ms(const HeldBack &held_back);

// Records what came of the jobs, announces it, and marks callbacks as due; those cancelled in the meantime stay so. `ended` is called
// with each request that has ended.
void record(const JobList &jobs, void (*ended)(const pg_uuid_t &request));

// Keeps the jobs of the lists; and which of them are no longer ours, for they were cancelled: their ids in order.
void renew_leases(std::initializer_list<const JobList *> lists);
[[nodiscard]] std::span<const std::int64_t> lost(std::initializer_list<const JobList *> lists);

// Gives back what this worker has.
void give_back();
// Gives back what other workers had: those that are gone (`all`), or whose lease has run out.
std::uint64_t recover(bool all);
// Looks at the next five thousand rows in the order they were queued, and deletes those that ended longer ago than
// steadytext.queue_retention. False: there is no more to look at for now, and the next call begins with the first row.
[[nodiscard]] bool delete_old();

struct Measured {
    std::int64_t length;
    std::int64_t oldest_us;  // CLOCK_REALTIME, of those pending; 0: there is none
};
[[nodiscard]] Measured measure();

}  // namespace steadytext::queue
