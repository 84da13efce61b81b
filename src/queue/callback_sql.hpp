// The statements on steadytext_queue about callbacks; each runs as the table's owner. Regime: pg, within a transaction
// with SPI connected.
//
// A row's callback_state is NULL until its result is recorded, then
//
//     due ──claim──▶ running ──▶ done, or failed with callback_error
//      ▲                │
//      └───settle───────┘  its worker was ended before the callback's time was up
//
// Called by callbacks.cpp (the queue worker) and callback_worker.cpp.
#pragma once

#include "src/pg/postgres.hpp"

extern "C" {
#include "utils/uuid.h"
}

#include <cstdint>

namespace steadytext::queue {

inline constexpr int kMaxCallbackTries = 3;  // workers that may be ended with a callback in hand before it is given up

struct DueCallback {
    std::int64_t id;
    pg_uuid_t request;
    const char *function;  // valid until the transaction ends; null: the role did not ask for it
    Oid owner;             // owner of the function when it was asked for
    Oid login;             // who had connected when the call was queued
};

struct CallbackRole {
    Oid role = InvalidOid;   // InvalidOid: none
    Oid login = InvalidOid;  // who had connected when its first callback was asked for
};

// The next role after `last`, by OID, that has callbacks due or running; InvalidOid: there is none.
[[nodiscard]] CallbackRole next_callback_role(Oid last);
// The id of the role's first due callback; 0: none is due.
[[nodiscard]] std::int64_t first_due_callback(Oid role);
// Fails the due and running callbacks of a role, a thousand at most.
void refuse_callbacks(Oid role, const char *reason);
// For a role without a worker: a callback still marked as running had a worker that was ended. If it took too long it
// fails; else it is due again.
void settle_callbacks(Oid role, int deadline_ms);

// Called by the callback worker, as `role`: claims the next callback; false if none is due.
[[nodiscard]] bool claim_callback(Oid role, DueCallback &callback);
// Records the end of the claimed callback; an ERROR if this worker no longer has it.
void end_callback(std::int64_t id, const char *error);

}  // namespace steadytext::queue
