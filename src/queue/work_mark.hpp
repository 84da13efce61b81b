// Which job the queue worker is at work on at this very moment, told to the worker that comes after its death.
//
// A job can kill its worker, and by that restart the server, which empties shared memory; a commit for each job, so that the table
// says what was begun, would cost more than most jobs do. So the mark is a word in a file that is mapped into memory: a store when
// work on a job begins and another when it rests, no system call, and the word is there whatever ends the process. Only the crash of
// the machine loses it.
//
// Used by src/queue/worker_main.cpp, one worker per database. Regime: pg. The file is pg_steadytext/queue.OID, there while a worker
// runs and after it died.
#pragma once

#include "src/pg/postgres.hpp"

#include <atomic>
#include <cstdint>

namespace steadytext::queue {

class WorkMark {
public:
    // Maps the database's file. Returns the id of the job at which an earlier worker died, 0 if at none. If the file cannot be had, that
    // is logged, and jobs are carried out without.
    [[nodiscard]] std::int64_t open(Oid database);

    // relaxed: only another process reads it, when this one is no more.
    void set(std::int64_t id) { word_->store(id, std::memory_order_relaxed); }
    void clear() { set(0); }

    // A worker that leaves in good order leaves no file.
    void remove();

private:
    std::atomic<std::int64_t> own_{0};
    std::atomic<std::int64_t> *word_ = &own_;
    char path_[64] = "";
};

}  // namespace steadytext::queue
