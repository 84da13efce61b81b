// Statements with the rights of the role that owns the extension's tables, which no setting of the caller's reaches.
//
// Used by src/functions, for callers who may not write a table themselves, and by workers. Regime: pg, within a transaction.
#pragma once

#include "src/pg/postgres.hpp"

namespace steadytext::pg {

inline constexpr const char *kOwnerRole = "steadytext_owner";

// What end_as_owner() puts back.
struct Caller {
    Oid user;
    int security;
    int settings;  // GUC nest level
};

// From here on statements run as steadytext_owner, in a security-restricted operation, with a search_path of pg_catalog alone. A statement
// prepared meanwhile is prepared under that path. An error puts everything back, as it ends the (sub)transaction. What such a statement may
// reach is limited by owner_guard.hpp.
[[nodiscard]] Caller begin_as_owner();
void end_as_owner(const Caller &caller);

// The same as the caller: only the search_path is pinned.
[[nodiscard]] Caller begin_pinned();

// Makes a background worker, which has just connected as the bootstrap superuser, a session of the owner role: not a superuser, neither
// as the current nor as the session's user. False if the role does not exist. Regime: pg, outside a transaction.
[[nodiscard]] bool become_owner();

}  // namespace steadytext::pg
