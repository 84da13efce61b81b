// Finds members by pg_depend, and remembers them: see own_table.hpp. Regime: pg.
#include "src/pg/own_table.hpp"
#include "src/pg/once.hpp"

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

// Relations found to be members. A dropped relation is forgotten when its relation cache entry is invalidated.
constexpr int kMost = 64;
Oid members[kMost];
int count = 0;

void forget(Datum, Oid relation) {
    if (!OidIsValid(relation))
        count = 0;
    else
        count = static_cast<int>(std::remove(members, members + count, relation) - members);
}

bool is_member(Oid relation) {
    const Oid extension = get_extension_oid("pg_steadytext", true);
    return OidIsValid(extension) && getExtensionOfObject(RelationRelationId, relation) == extension;
}

}  // namespace

bool is_own_relation(Oid relation) {
    once([] { CacheRegisterRelcacheCallback(forget, static_cast<Datum>(0)); });
    if (std::find(members, members + count, relation) != members + count)
        return true;
    if (!is_member(relation))
        return false;
    if (count < kMost)
        members[count++] = relation;
    return true;
}

Oid own_table(const char *name, const char *schema_name) {
    const Oid schema = get_namespace_oid(schema_name, true);
    const Oid table = OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;
    return OidIsValid(table) && is_own_relation(table) ? table : InvalidOid;
}

Oid lock_own_table(const char *name, const char *schema) {
    const Oid table = own_table(name, schema);
    if (!OidIsValid(table))
        return InvalidOid;
    LockRelationOid(table, AccessShareLock);  // also learns what changed while it waited
    return own_table(name, schema) == table ? table : InvalidOid;
}

}  // namespace steadytext::pg
