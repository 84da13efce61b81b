// The role whose shares, turns and "*" limits are used: the role that connected, whatever role it acts as. A callback of
// the queue is a session of the role that queued the call, and yet uses the shares of the role that had connected then:
// else SET ROLE would give a role the shares of each role that it is a member of.
//
// Called wherever calls are counted by role: room.cpp, limits.cpp, observe.cpp, functions/queue.cpp. Regime: pg.
#pragma once

#include "src/pg/postgres.hpp"

namespace steadytext::session {

// Also right in parallel workers.
[[nodiscard]] Oid login();

// Called by src/queue/callback_worker.cpp, before each callback.
void set_login(Oid role);

// The role of set_login(); InvalidOid: none.
[[nodiscard]] Oid login_that_was_set();

}  // namespace steadytext::session
