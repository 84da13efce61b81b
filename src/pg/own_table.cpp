// Membership by pg_depend, remembered per table: see own_table.hpp. Regime: pg.
#include "src/pg/own_table.hpp"

extern "C" {
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "commands/extension.h"
#include "storage/lmgr.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
}

#include <algorithm>

namespace steadytext::pg {

namespace {

// Tables found to be members. A table that is dropped is forgotten when its relation cache entry is invalidated.
constexpr int kMost = 16;
Oid members[kMost];
int count = 0;

void forget(Datum, Oid relation) {
    if (!OidIsValid(relation))
        count = 0;
    else
        count = static_cast<int>(std::remove(members, members + count, relation) - members);
}

bool is_member(Oid table) {
    const Oid extension = get_extension_oid("pg_steadytext", true);
    return OidIsValid(extension) && getExtensionOfObject(RelationRelationId, table) == extension;
}

}  // namespace

Oid own_table(const char *name) {
    static bool registered = false;
    if (!registered)
        CacheRegisterRelcacheCallback(forget, static_cast<Datum>(0));
    registered = true;
    const Oid schema = get_namespace_oid("public", true);
    const Oid table = OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;
    if (!OidIsValid(table) || std::find(members, members + count, table) != members + count)
        return table;
    if (!is_member(table))
        return InvalidOid;
    if (count < kMost)
        members[count++] = table;
    return table;
}

Oid lock_own_table(const char *name) {
    const Oid table = own_table(name);
    if (!OidIsValid(table))
        return InvalidOid;
    LockRelationOid(table, AccessShareLock);  // hears what changed while it waited
    return own_table(name) == table ? table : InvalidOid;
}

}  // namespace steadytext::pg
