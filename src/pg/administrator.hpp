// Whether a role administers the extension in this database. Called by src/functions. Regime: pg, within a transaction.
#pragma once

#include "src/pg/postgres.hpp"

namespace steadytext::pg {

// Whether the current role has the privileges of steadytext_admin_grant(). The right to change settings stands for all
// of them, as in the policies of the tables.
[[nodiscard]] bool is_administrator();

// Whether the current role sees the calls of other roles, and their use, in this database: it is an administrator, or
// may read all statistics.
[[nodiscard]] bool sees_others_calls();

}  // namespace steadytext::pg
