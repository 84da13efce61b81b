// Runs statements with the rights of the role that owns the extension's tables, free from the caller's settings.
//
// Called by src/functions and src/queue for callers that may not write a table themselves, and by workers. Regime: pg,
// within a transaction.
#pragma once

#include "src/pg/postgres.hpp"

namespace steadytext::pg {

inline constexpr const char *kOwnerRole = "steadytext_owner";

// The state that end_as_owner() restores.
struct Caller {
    Oid user;
    int security;
    int settings;  // GUC nest level
};

// From here on statements run as steadytext_owner, in a security-restricted operation, with the search_path pg_catalog
// alone. Statements prepared meanwhile are prepared under this path. An error ends the (sub)transaction and so restores
// everything. owner_guard.hpp limits what these statements may reach.
[[nodiscard]] Caller begin_as_owner();
void end_as_owner(const Caller &caller);

// Pins the search_path only; the user stays the caller.
[[nodiscard]] Caller begin_pinned();

// Makes a background worker, which has just connected as the bootstrap superuser, a session of the owner role: neither
// its current nor its session user is a superuser. False if the role does not exist. Regime: pg, outside a transaction.
[[nodiscard]] bool become_owner();

}  // namespace steadytext::pg
