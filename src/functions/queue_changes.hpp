// What a transaction changes in the queue of asynchronous calls: told at its commit, taken back at its rollback.
//
// Called by queue.cpp. Regime: pg. Once the transaction has committed, the worker and the waiting sessions are told of
// the change. Places in the queue are reserved before that (shmem/queue_places.hpp), so that concurrent sessions cannot
// overfill the queue. A rollback gives them back. Such a transaction cannot be prepared.
#pragma once

#include "src/pg/postgres.hpp"

#include <cstdint>

namespace steadytext::functions {

// Rows may have changed: the worker looks.
void note_change();
// A function that changes the queue locks its table, whether or not it finds anything to change.
void note_called();
// The worker and the waiting sessions look at all requests and callbacks.
void note_look();
// Reserves the places that the requests will have at commit.
void note_added(Oid role, std::int32_t count);
void note_cancelled(Oid role);

}  // namespace steadytext::functions
