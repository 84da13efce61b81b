// The lock, and the statements that take it: see extension_lock.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/pg/extension_lock.hpp"

extern "C" {
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xlog.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_namespace.h"
#include "commands/extension.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
}

namespace steadytext::pg {

namespace {

constexpr const char *kExtension = "pg_steadytext";
ProcessUtility_hook_type next_utility;
void (*end_callbacks)();

// One lock for each database; it does not depend on the OID of the extension in it.
LOCKTAG own_lock() {
    constexpr uint16 kPart = 1;  // extensions themselves are locked by part 0
    LOCKTAG tag;
    SET_LOCKTAG_OBJECT(tag, MyDatabaseId, ExtensionRelationId, InvalidOid, kPart);
    return tag;
}

// Whether the user owns an extension or a schema. A superuser owns all.
bool owns(Oid class_id, Oid object) {
    const bool is_extension = class_id == ExtensionRelationId;
    Relation table = table_open(class_id, AccessShareLock);
    ScanKeyData key;
    ScanKeyInit(&key, is_extension ? Anum_pg_extension_oid : Anum_pg_namespace_oid, BTEqualStrategyNumber, F_OIDEQ,
                ObjectIdGetDatum(object));
    SysScanDesc scan =
        systable_beginscan(table, is_extension ? ExtensionOidIndexId : NamespaceOidIndexId, true, nullptr, 1, &key);
    Oid owner = InvalidOid;
    if (HeapTuple tuple = systable_getnext(scan); HeapTupleIsValid(tuple))
        owner = is_extension ? reinterpret_cast<Form_pg_extension>(GETSTRUCT(tuple))->extowner
                             : reinterpret_cast<Form_pg_namespace>(GETSTRUCT(tuple))->nspowner;
    systable_endscan(scan);
    table_close(table, AccessShareLock);
    return OidIsValid(owner) && has_privs_of_role(GetUserId(), owner);
}

// Whether the extension depends on the object: its schema, or an extension that it requires.
bool depends_on(Oid extension, Oid class_id, Oid object) {
    Relation table = table_open(DependRelationId, AccessShareLock);
    ScanKeyData keys[2];
    ScanKeyInit(&keys[0], Anum_pg_depend_classid, BTEqualStrategyNumber, F_OIDEQ,
                ObjectIdGetDatum(ExtensionRelationId));
    ScanKeyInit(&keys[1], Anum_pg_depend_objid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(extension));
    SysScanDesc scan = systable_beginscan(table, DependDependerIndexId, true, nullptr, 2, keys);
    bool found = false;
    while (HeapTuple tuple = found ? nullptr : systable_getnext(scan)) {
        const auto *row = reinterpret_cast<Form_pg_depend>(GETSTRUCT(tuple));
        found = row->refclassid == class_id && row->refobjid == object;
    }
    systable_endscan(scan);
    table_close(table, AccessShareLock);
    return found;
}

bool drops_extension(const Node *statement) {
    if (!IsA(statement, DropStmt))
        return false;
    const auto *drop = reinterpret_cast<const DropStmt *>(statement);
    const bool is_of_extensions = drop->removeType == OBJECT_EXTENSION;
    if (!is_of_extensions && drop->removeType != OBJECT_SCHEMA)
        return false;
    const Oid extension = get_extension_oid(kExtension, true);
    if (!OidIsValid(extension))
        return false;
    const Oid class_id = is_of_extensions ? ExtensionRelationId : NamespaceRelationId;
    const ListCell *cell;
    foreach (cell, drop->objects) {
        const char *name = strVal(lfirst(cell));
        const Oid object = is_of_extensions ? get_extension_oid(name, true) : get_namespace_oid(name, true);
        if (!OidIsValid(object) || !owns(class_id, object))
            continue;
        if ((is_of_extensions && object == extension) ||
            (drop->behavior == DROP_CASCADE && depends_on(extension, class_id, object)))
            return true;
    }
    return false;
}

void run_utility(PlannedStmt *statement, const char *text, bool read_only, ProcessUtilityContext context,
                 ParamListInfo parameters, QueryEnvironment *environment, DestReceiver *receiver,
                 QueryCompletion *completion) {
    if (!RecoveryInProgress() && drops_extension(statement->utilityStmt)) {
        const LOCKTAG tag = own_lock();
        if (LockAcquire(&tag, ExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL) {
            end_callbacks();
            (void)LockAcquire(&tag, ExclusiveLock, false, false);
        }
    }
    (next_utility != nullptr ? next_utility : standard_ProcessUtility)(statement, text, read_only, context, parameters,
                                                                       environment, receiver, completion);
}

}  // namespace

bool lock_extension() {
    const LOCKTAG tag = own_lock();
    (void)LockAcquire(&tag, ShareLock, false, false);
    AcceptInvalidationMessages();  // learns what was dropped while it waited
    return OidIsValid(get_extension_oid(kExtension, true));
}

void install_extension_lock(void (*end)()) {
    end_callbacks = end;
    next_utility = ProcessUtility_hook;
    ProcessUtility_hook = run_utility;
}

}  // namespace steadytext::pg
