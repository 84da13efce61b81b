// Changes the user, the security context and the search_path together: see as_owner.hpp. Regime: pg.
#include "src/pg/as_owner.hpp"

extern "C" {
#include "access/xact.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/guc.h"
}

namespace steadytext::pg {

Caller begin_pinned() {
    Caller caller;
    GetUserIdAndSecContext(&caller.user, &caller.security);
    caller.settings = NewGUCNestLevel();
    (void)set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
                            false);
    return caller;
}

Caller begin_as_owner() {
    const Oid owner = get_role_oid(kOwnerRole, false);
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
