// Looks at pg_proc, for both callers: see callback_function.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/pg/callback_function.hpp"

extern "C" {
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "parser/parse_func.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
}

namespace steadytext::pg {

namespace {

// False: there is no such function, or its form is not that of a callback.
bool look_up(Oid function, CallbackFunction &found) {
    HeapTuple tuple = OidIsValid(function) ? SearchSysCache1(PROCOID, ObjectIdGetDatum(function)) : nullptr;
    if (!HeapTupleIsValid(tuple))
        return false;
    const auto *form = reinterpret_cast<Form_pg_proc>(GETSTRUCT(tuple));
    const bool is_callback = form->prokind == PROKIND_FUNCTION && form->pronargs == 1 &&
                             form->proargtypes.values[0] == UUIDOID && !form->proretset;
    const char *schema = get_namespace_name(form->pronamespace);
    found = {function, form->proowner,
             schema == nullptr ? "" : quote_qualified_identifier(schema, NameStr(form->proname))};
    ReleaseSysCache(tuple);
    return is_callback && schema != nullptr;
}

void require_permission(const CallbackFunction &function) {
    const Datum may =
        DirectFunctionCall2(has_function_privilege_id, ObjectIdGetDatum(function.oid), CStringGetTextDatum("EXECUTE"));
    if (!DatumGetBool(may))
        ereport(ERROR,
                (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("permission denied for function %s", function.name)));
}

}  // namespace

CallbackFunction callback_function(Oid function) {
    CallbackFunction found;
    if (!look_up(function, found))
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_FUNCTION),
                        errmsg("a callback must be a function of one uuid that returns no set")));
    require_permission(found);
    return found;
}

CallbackFunction callback_function(const char *name, Oid owner) {
    const Oid types[] = {UUIDOID};
    CallbackFunction found;
    if (!look_up(LookupFuncName(qualified_name_list(name), 1, types, true), found))
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_FUNCTION),
                        errmsg("function %s(uuid) does not exist, or returns a set", name)));
    if (found.owner != owner)
        ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                        errmsg("function %s(uuid) is not the one that was asked for: its owner is another", name)));
    require_permission(found);
    return found;
}

}  // namespace steadytext::pg
