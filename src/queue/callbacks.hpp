// The callbacks of a database: finds roles with due callbacks, and starts their workers. Regime: pg.
//
// Called by the queue worker (worker_main.cpp) outside a transaction. A callback runs in a separate worker that is
// connected as the role (callback_worker.cpp). So nothing in a callback reaches the queue worker, and the queue goes on
// meanwhile. Roles take turns, in the order of their OIDs.
#pragma once

#include "src/pg/postgres.hpp"

#include <cstdint>

namespace steadytext::queue {

// A result with a callback was recorded.
void note_callback_due();

// Whether callbacks are due or running, as far as is known.
[[nodiscard]] bool has_callbacks();

// When look_after_callbacks() has something to do (CLOCK_MONOTONIC).
[[nodiscard]] std::int64_t callbacks_due_us();

// Settles callbacks of workers that ended, refuses callbacks that cannot run, starts workers. If its transaction fails,
// the queue still goes on.
void look_after_callbacks(std::int64_t now_us);

}  // namespace steadytext::queue
