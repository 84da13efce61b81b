// The scope's text, kept until a role or the database is renamed: see scope.hpp. Regime: pg.
#include "src/pg/postgres.hpp"
#include "src/session/scope.hpp"
#include "src/guc.hpp"

extern "C" {
#include "catalog/pg_authid.h"
#include "commands/dbcommands.h"
#include "utils/acl.h"
#include "utils/inval.h"
#include "utils/syscache.h"
}

namespace steadytext::session {

namespace {

char scope[2 * NAMEDATALEN + 1];
Oid scope_role = InvalidOid;
int scope_kind = -1;

void forget(Datum, int, uint32) { scope_kind = -1; }

}  // namespace

std::string_view cache_scope() {
    static bool registered = false;
    if (!registered) {
        CacheRegisterSyscacheCallback(AUTHOID, forget, static_cast<Datum>(0));
        CacheRegisterSyscacheCallback(DATABASEOID, forget, static_cast<Datum>(0));
        registered = true;
    }
    if (scope_kind != guc::cache_scope || scope_role != GetUserId()) {
        const char *database = get_database_name(MyDatabaseId);
        const bool by_role = guc::cache_scope == static_cast<int>(guc::CacheScope::Role);
        snprintf(scope, sizeof scope, "%s%s%s", database != nullptr ? database : "", by_role ? "/" : "",
                 by_role ? GetUserNameFromId(GetUserId(), false) : "");
        scope_role = GetUserId();
        scope_kind = guc::cache_scope;
    }
    return scope;
}

}  // namespace steadytext::session
