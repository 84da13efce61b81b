// Builds and runs ALTER SYSTEM: see alter_system.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/pg/alter_system.hpp"

extern "C" {
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "utils/guc.h"
}

#include <csignal>

namespace steadytext::pg {

void alter_system(const char *name, const char *value) {
    VariableSetStmt *set = makeNode(VariableSetStmt);
    set->kind = VAR_SET_VALUE;
    set->name = pstrdup(name);
    set->args = list_make1(string_constant(value));
    AlterSystemStmt *statement = makeNode(AlterSystemStmt);
    statement->setstmt = set;
    AlterSystemSetConfigFile(statement);
    if (kill(PostmasterPid, SIGHUP) != 0)
        ereport(WARNING, (errmsg("could not signal the postmaster to reload: %m")));
}

}  // namespace steadytext::pg
