// The job that the queue worker is working on at this moment, for the worker that comes after its death.
//
// A job can kill its worker, and thereby restart the server, which empties shared memory. A commit for each job, so
// that the table shows which job was begun, would cost more than most jobs do. So the mark is a word in a file that is
// mapped into memory: a store when work on a job begins, another store when it pauses, and no system call. The word
// survives any end of the process; only a crash of the machine loses it.
//
// Used by src/queue/worker_main.cpp; a database has a single worker. Regime: pg. The file is pg_steadytext/queue.OID;
// it exists while a worker runs, and after a worker died.
#pragma once

#include "src/pg/postgres.hpp"

#include <atomic>
#include <cstdint>

namespace steadytext::queue {

class WorkMark {
public:
    // Maps the database's file. Returns the id of the job at which an earlier worker died, 0 if there is none. If the
    // file cannot be mapped, this is logged, and jobs run without a mark.
    [[nodiscard]] std::int64_t open(Oid database);

    // relaxed: only another process reads the word, after this process has ended.
    void set(std::int64_t id) { word_->store(id, std::memory_order_relaxed); }
    void clear() { set(0); }

    // A worker that leaves in good order removes the file.
    void remove();

private:
    std::atomic<std::int64_t> own_{0};
    std::atomic<std::int64_t> *word_ = &own_;
    char path_[64] = "";
};

}  // namespace steadytext::queue
