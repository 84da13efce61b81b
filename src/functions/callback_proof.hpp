// The proof that a role itself asked for a callback: a row of _steadytext.queue_callbacks.
//
// steadytext_owner owns the queue's table and runs much SQL. An attacker with the rights of that role could write a
// request of any role with any callback, and callbacks run as the role. So a callback is called only if its row is here
// (src/queue/callback_sql.cpp), in a table of a superuser that no SQL of the extension writes. Called by
// src/functions/queue.cpp. Regime: pg.
#pragma once

#include "src/pg/postgres.hpp"

extern "C" {
#include "utils/uuid.h"
}

namespace steadytext::functions {

// `callback`: the function's qualified name, a text. `owner`: the owner of the function. Called within the transaction
// that adds the request.
void prove_callback(const pg_uuid_t &request, Oid role, Datum callback, Oid owner);

}  // namespace steadytext::functions
