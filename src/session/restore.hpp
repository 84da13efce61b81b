// Whether this session restores a dump: limits do not stop that, and asynchronous calls that it brings are held.
//
// Every dump begins with SET check_function_bodies = false, in each connection that pg_restore makes; little else says
// it. A session restores from then on, until the setting is on again.
//
// Called by src/session and src/functions. Regime: pg.
#pragma once

#include "src/pg/postgres.hpp"

extern "C" {
#include "nodes/nodes.h"
}

namespace steadytext::session::restore {

// Called by statement.cpp: before an outermost statement, and after a utility statement has been carried out.
void begin_statement();
void note_utility(const Node *statement);

// A superuser restores. A setting that a function has changed, or whoever is no superuser, does not count: so nobody gets
// round a limit by it, also not in a superuser's session. In parallel workers what holds in the leader.
[[nodiscard]] bool is_superusers();

// Whoever it is, restores; or this process writes what logical replication brings.
[[nodiscard]] bool is_any();

}  // namespace steadytext::session::restore
