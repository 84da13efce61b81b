// Rows that this worker has claimed but whose jobs it has dropped: another transaction had locked them when their
// results were to be recorded.
//
// A transaction that cancels a request, or changes its row by hand, locks the row for as long as it likes. The worker
// does not wait: it drops the job, as nobody wants the result if the cancel commits. It gives the row back once it can,
// so that the job runs again if the cancel was rolled back. Used by src/queue/worker_main.cpp, outside transactions.
// Regime: pg.
#pragma once

#include "src/pg/postgres.hpp"

#include <cstdint>

namespace steadytext::queue {

class LockedRows {
public:
    // In CurrentMemoryContext, which must live as long as the worker.
    void add(std::int64_t id);
    [[nodiscard]] bool is_empty() const { return count_ == 0; }
    // When try_again() has something to do (CLOCK_MONOTONIC).
    [[nodiscard]] std::int64_t due_us() const { return count_ == 0 ? INT64_MAX : due_us_; }
    // Gives back the rows that are free, and forgets the rows that were cancelled; false if the transaction failed.
    [[nodiscard]] bool try_again(std::int64_t now_us);

private:
    std::int64_t *ids_ = nullptr;
    std::uint32_t count_ = 0, room_ = 0;
    std::int64_t due_us_ = 0, pause_us_ = 0;  // the pause doubles while nothing can be given back
};

}  // namespace steadytext::queue
