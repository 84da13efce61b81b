// The user, the security context and the search_path, changed together: see as_owner.hpp. Regime: pg.
#include "src/pg/as_owner.hpp"

extern "C" {
#include "access/xact.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/rel.h"
#include "utils/relcache.h"
}

namespace steadytext::pg {

Caller begin_pinned() {
    Caller caller;
    GetUserIdAndSecContext(&caller.user, &caller.security);
    caller.settings = NewGUCNestLevel();
    (void)set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
    return caller;
}

Caller begin_as_owner(Oid table) {
    Relation relation = RelationIdGetRelation(table);
    if (relation == nullptr)
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("table with OID %u does not exist", table)));
    const Oid owner = relation->rd_rel->relowner;
    RelationClose(relation);
    const Caller caller = begin_pinned();
    SetUserIdAndSecContext(owner, caller.security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
    return caller;
}

void end_as_owner(const Caller &caller) {
    AtEOXact_GUC(false, caller.settings);
    SetUserIdAndSecContext(caller.user, caller.security);
}

bool become_owner() {
    StartTransactionCommand();
    const Oid owner = get_role_oid(kOwnerRole, true);
    CommitTransactionCommand();
    if (!OidIsValid(owner))
        return false;
    SetSessionAuthorization(owner, false);
    return true;
}

}  // namespace steadytext::pg
