// What is done to steadytext_queue about callbacks, each a statement as the table's owner. Regime: pg, within a transaction with SPI
// connected.
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

inline constexpr int kMostCallbackTries = 3;  // workers that may be ended with a callback before it is given up

struct DueCallback {
    std::int64_t id;
    pg_uuid_t request;
    const char *function;  // goes with the transaction; null: the role did not ask for it
    Oid owner;             // whose function it was then
};

// The next role after `last`, by OID, that has callbacks due or running; InvalidOid: there is none.
[[nodiscard]] Oid next_callback_role(Oid last);
// The id of the role's first callback that is due; 0: none is.
[[nodiscard]] std::int64_t first_due_callback(Oid role);
// Fails what is due or running of a role, a thousand at most.
void refuse_callbacks(Oid role, const char *reason);
// Of a role that has no worker: what is marked as running had one that was ended. That it took too long is its end; else it is due again.
void settle_callbacks(Oid role, int deadline_ms);

// The callback worker, as `role`: takes the next one into its hands; false if none is due.
[[nodiscard]] bool claim_callback(Oid role, DueCallback &callback);
// What came of the one in its hands; an ERROR if it is in its hands no longer.
void end_callback(std::int64_t id, const char *error);

}  // namespace steadytext::queue
