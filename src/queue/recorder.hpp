// Jobs that are over, until their results are in the table, on disk and announced.
//
// Used by src/queue/worker_main.cpp, outside transactions; a worker has a single recorder. Regime: pg.
//
// Recording waits for the disk, so jobs are recorded in bunches. A bunch waits for further jobs for at most the time
// that the last recording took, and not at all if nothing else is to be done. A failed recording is repeated job by
// job, so that only the job whose result cannot be recorded fails (for example, the database's encoding lacks a
// character). A recording that has to wait for another transaction's lock is repeated without the jobs whose rows are
// locked (locked_rows.hpp); for a while afterwards such rows are left out at once.
#pragma once

#include "shmem/segment.hpp"
#include "src/queue/job.hpp"
#include "src/queue/locked_rows.hpp"

namespace steadytext::queue {

class Recorder {
public:
    static constexpr std::uint32_t kMost = 4096;  // in a single recording

    void begin(shmem::DatabaseRow &row) { row_ = &row; }

    // Moves the job out of its list into this recorder.
    void add(Job *job);
    [[nodiscard]] bool is_empty() const { return over_.is_empty(); }
    [[nodiscard]] bool is_full() const { return over_.count >= kMost / 2; }
    [[nodiscard]] const JobList &jobs() const { return over_; }
    // `idle`: the worker has nothing else to do.
    [[nodiscard]] bool is_due(std::int64_t now_us, bool idle) const;
    [[nodiscard]] std::int64_t due_us() const { return over_.is_empty() ? INT64_MAX : since_us_ + took_us_; }
    // False if the transaction failed for another reason than a lock. `put_off`: some jobs are pending again.
    [[nodiscard]] bool record(bool &put_off);

    LockedRows locked_rows;

private:
    static void record_bunch();
    static void note_ended(const pg_uuid_t &request, Oid login);
    [[nodiscard]] bool begin_locking_first(std::int64_t now_us);
    void wake_waiters();
    void drop_busy();

    shmem::DatabaseRow *row_ = nullptr;
    JobList over_, bunch_;
    JobList busy_;                     // jobs of the bunch whose rows another transaction has locked
    std::int64_t since_us_ = 0;        // since when there are jobs to record
    std::int64_t took_us_ = 0;         // by the last recording
    std::int64_t locks_until_us_ = 0;  // until this time rows are locked before they are recorded
    bool one_by_one_ = false;          // the last recording failed
    std::uint64_t ended_keys_[kMost];
    std::uint32_t ended_count_ = 0;
};

}  // namespace steadytext::queue
