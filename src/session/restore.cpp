// Watches SET check_function_bodies: see restore.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/session/restore.hpp"
#include "src/session/statement_caps.hpp"

extern "C" {
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "replication/logicalworker.h"
#include "utils/guc.h"
}

namespace steadytext::session::restore {

namespace {

bool said_by_superuser = false;  // the last statement to SET it, which was not undone since

}  // namespace

void begin_statement() {
    if (check_function_bodies)
        said_by_superuser = false;
}

void note_utility(const Node *statement) {
    if (!IsA(statement, VariableSetStmt))
        return;
    const auto *set = reinterpret_cast<const VariableSetStmt *>(statement);
    if (set->name != nullptr && pg_strcasecmp(set->name, "check_function_bodies") == 0)
        said_by_superuser = set->kind == VAR_SET_VALUE && !check_function_bodies && superuser() &&
                            superuser_arg(GetSessionUserId());  // not a function that lends its owner's rights
}

bool is_superusers() {
    return pg::parallel_leader() >= 0 ? caps::leader_lets_through() : said_by_superuser && !check_function_bodies;
}

bool is_any() { return !check_function_bodies || IsLogicalWorker(); }

}  // namespace steadytext::session::restore
