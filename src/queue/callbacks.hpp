// The callbacks of one database: which roles have some due, and beginning their workers. Regime: pg.
//
// Called by the queue worker (worker_main.cpp) outside a transaction. A callback runs in a worker of its own that is connected as the role
// (callback_worker.cpp), so nothing it does reaches the queue worker, and the queue goes on meanwhile. Roles take turns, by name.
#pragma once

#include "src/pg/postgres.hpp"

#include <cstdint>

namespace steadytext::queue {

// A result was recorded that has a callback.
void note_callback_due();

// Whether there are callbacks due or running, as far as is known.
[[nodiscard]] bool has_callbacks();

// When look_after_callbacks() has something to do (CLOCK_MONOTONIC).
[[nodiscard]] std::int64_t callbacks_due_us();

// Settles what workers left behind, refuses what cannot run, begins workers. If its transaction fails, the queue goes on all the same.
void look_after_callbacks(std::int64_t now_us);

}  // namespace steadytext::queue
