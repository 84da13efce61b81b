// Who administers the extension in this database. Used by src/functions. Regime: pg, within a transaction.
#pragma once

#include "src/pg/postgres.hpp"

namespace steadytext::pg {

// Whether the current role has what steadytext_admin_grant() gives, of which changing settings stands for all, as in the policies of tables.
[[nodiscard]] bool is_administrator();

// Sees what calls of others there are, and how much they use, in this database: an administrator, and who may read all statistics.
[[nodiscard]] bool sees_others_calls();

}  // namespace steadytext::pg
