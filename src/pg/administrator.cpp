// Checks the privilege of a single function: see administrator.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/pg/administrator.hpp"

extern "C" {
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "utils/acl.h"
#include "utils/syscache.h"
}

namespace steadytext::pg {

bool is_administrator() {
    const Oid schema = get_namespace_oid("_steadytext", true);
    if (!OidIsValid(schema))
        return false;
    const Oid arguments[] = {TEXTOID, TEXTOID};
    const Oid function = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum("config_set"),
                                         PointerGetDatum(buildoidvector(arguments, 2)), ObjectIdGetDatum(schema));
    return OidIsValid(function) && may_execute(GetUserId(), function);
}

bool sees_others_calls() { return has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS) || is_administrator(); }

}  // namespace steadytext::pg
