// The callbacks of a database: finds roles with due callbacks, and starts their workers. Regime: pg.
//
// Called by the queue worker (worker_main.cpp) outside a transaction. A callback runs in a separate worker that is
// connected as the role (callback_worker.cpp). So nothing in a callback reaches the queue worker, and the queue goes on
// meanwhile. The launcher starts the workers, as it starts all others (bgworker/places.hpp), when it is a role's turn.
// The queue worker asks for the workers of kMaxCallbackWishes roles at once (shmem/worker_places.hpp), in the order of
// the roles' OIDs: so no role waits behind a role that has its share of the places.
#pragma once

#include "shmem/worker_places.hpp"
#include "src/pg/postgres.hpp"

#include <cstdint>

namespace steadytext::queue {

// Called first of all, with the state that the queue worker before has left.
void begin_callbacks(shmem::WorkerPlaces::Left &left);

// A result with a callback was recorded.
void note_callback_due();

// Whether callbacks are due or running, as far as is known.
[[nodiscard]] bool has_callbacks();

// When look_after_callbacks() has something to do (CLOCK_MONOTONIC).
[[nodiscard]] std::int64_t callbacks_due_us();

// Settles callbacks of workers that ended, refuses callbacks that cannot run, asks for workers. If its transaction
// fails, the queue still goes on.
void look_after_callbacks(std::int64_t now_us);

// Called by a session that drops the extension and would wait for a callback. Ends this database's callback workers, by
// die(), which cannot be caught. The work of the callbacks in hand is undone; if the extension stays after all, they
// are called again.
void end_callback_workers();

}  // namespace steadytext::queue
