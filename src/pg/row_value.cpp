// Makes the row column by column, so that an error can name its column: see row_value.hpp. Regime:
// pg.
#include "src/pg/compat.hpp"
#include "src/pg/row_value.hpp"
#include "src/pg/caught.hpp"
#include "src/pg/text.hpp"

extern "C" {
#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"
}

namespace steadytext::pg {

namespace {

constexpr int kMaxShown = 100;  // bytes of a value

// How far the making of a row is. Allocated by palloc, and points to nothing in a frame: it is read after a longjmp.
struct Place {
    const Place *above;  // the row that has this row in a column
    const char *column = nullptr;
    Oid type = InvalidOid;
    JsonbValue
        value{};  // a copy: read after a longjmp, when frames are gone; its text is the answer's, which is still there
    const Place **innermost;
};

Datum make(Oid type, HeapTupleHeader base, JsonbContainer *object, const Place *above, const Place **innermost);

// jsonb_populate_record(), which learns the type from the expression that calls it.
struct Populate {
    explicit Populate(Oid type) {
        fmgr_info(F_JSONB_POPULATE_RECORD, &function);
        Expr *row = reinterpret_cast<Expr *>(makeNullConst(type, -1, InvalidOid));
        Expr *json = reinterpret_cast<Expr *>(makeNullConst(JSONBOID, -1, InvalidOid));
        fmgr_info_set_expr(reinterpret_cast<Node *>(makeFuncExpr(F_JSONB_POPULATE_RECORD, type, list_make2(row, json),
                                                                 InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL)),
                           &function);
    }
    FmgrInfo function;
};

// An object with only this member.
Jsonb *with_member(const char *name, JsonbValue *value) {
    JsonbParseState *state = nullptr;
    JsonbValue key;
    key.type = jbvString;
    key.val.string.val = const_cast<char *>(name);
    key.val.string.len = static_cast<int>(strlen(name));
    pushJsonbValue(&state, WJB_BEGIN_OBJECT, nullptr);
    pushJsonbValue(&state, WJB_KEY, &key);
    pushJsonbValue(&state, WJB_VALUE, value);
    return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, nullptr));
}

struct Column {
    Datum value;
    bool is_null;
};

// `was`: the value that is there already.
Column make_column(Form_pg_attribute column, Column was, HeapTupleHeader empty, Populate &populate, Place &place) {
    const Oid base = getBaseType(column->atttypid);
    JsonbValue *value = &place.value;
    if (get_typtype(base) == TYPTYPE_COMPOSITE && value->type == jbvBinary &&
        JsonContainerIsObject(value->val.binary.data)) {
        HeapTupleHeader row = was.is_null ? nullptr : DatumGetHeapTupleHeader(was.value);
        const Datum made = make(base, row, value->val.binary.data, &place, place.innermost);
        if (base != column->atttypid)
            domain_check(made, false, column->atttypid, nullptr, nullptr);
        return {made, false};
    }
    const Datum made = FunctionCall2(&populate.function, HeapTupleHeaderGetDatum(empty),
                                     JsonbPGetDatum(with_member(NameStr(column->attname), value)));
    Column result{};
    result.value = GetAttributeByNum(DatumGetHeapTupleHeader(made), column->attnum, &result.is_null);
    return result;
}

Datum make(Oid type, HeapTupleHeader base, JsonbContainer *object, const Place *above, const Place **innermost) {
    check_stack_depth();
    TupleDesc row = lookup_rowtype_tupdesc(type, -1);
    auto *values = static_cast<Datum *>(palloc0(static_cast<std::size_t>(row->natts) * sizeof(Datum)));
    auto *nulls = static_cast<bool *>(palloc(static_cast<std::size_t>(row->natts)));
    memset(nulls, true, static_cast<std::size_t>(row->natts));
    const HeapTupleHeader empty = DatumGetHeapTupleHeader(HeapTupleGetDatum(heap_form_tuple(row, values, nulls)));
    if (base != nullptr) {
        HeapTupleData tuple{};
        tuple.t_len = HeapTupleHeaderGetDatumLength(base);
        ItemPointerSetInvalid(&tuple.t_self);
        tuple.t_data = base;
        heap_deform_tuple(&tuple, row, values, nulls);
    }
    auto *place = new (palloc(sizeof(Place))) Place{.above = above, .innermost = innermost};
    Populate populate(type);
    *innermost = place;
    for (int i = 0; i < row->natts; i++) {
        const Form_pg_attribute column = TupleDescAttr(row, i);
        if (column->attisdropped)
            continue;
        CHECK_FOR_INTERRUPTS();
        const char *name = NameStr(column->attname);
        JsonbValue *said = getKeyJsonValueFromContainer(object, name, static_cast<int>(strlen(name)), nullptr);
        if (said == nullptr && base != nullptr)
            continue;
        place->column = pstrdup(name);
        place->type = column->atttypid;
        place->value = said != nullptr ? *said : JsonbValue{.type = jbvNull, .val = {}};
        const Column made = make_column(column, {values[i], nulls[i]}, empty, populate, *place);
        values[i] = made.value;
        nulls[i] = made.is_null;
        *innermost = place;
    }
    *innermost = above;
    const Datum made = HeapTupleGetDatum(heap_form_tuple(row, values, nulls));
    ReleaseTupleDesc(row);
    return made;
}

Datum make_all(Oid type, HeapTupleHeader base, const char *object, const Place **innermost) {
    Jsonb *json = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(object)));
    if (!JB_ROOT_IS_OBJECT(json))
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("the answer is no JSON object")));
    const Oid composite = getBaseType(type);
    const Datum row = make(composite, base, &json->root, nullptr, innermost);
    if (composite != type)
        domain_check(row, false, type, nullptr, nullptr);
    return row;
}

// ---- errors ----

// The data is at fault, not the session, the machine, somebody's rights or somebody's code.
bool is_refusal(const ErrorData *error) {
    const int category = ERRCODE_TO_CATEGORY(error->sqlerrcode);
    return category == ERRCODE_DATA_EXCEPTION || category == ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION ||
           error->sqlerrcode == ERRCODE_RAISE_EXCEPTION;
}

void append_path(StringInfo path, const Place *place) {
    if (place->above != nullptr) {
        append_path(path, place->above);
        appendStringInfoChar(path, '.');
    }
    appendStringInfoString(path, place->column);
}

// The value as JSON, cut.
const char *shown(JsonbValue value) {
    Jsonb *json = JsonbValueToJsonb(&value);
    char *text = JsonbToCString(nullptr, &json->root, VARSIZE(json));
    const int length = static_cast<int>(strlen(text));
    const int clipped = pg_mbcliplen(text, length, kMaxShown);
    return clipped == length ? text : psprintf("%.*s...", clipped, text);
}

void tell(Oid type, const Place *place, const ErrorData *error, core::Problem &problem) {
    if (place == nullptr) {
        problem.set(core::sqlstate::kProtocolViolation, "the answer cannot be cast to type %s", format_type_be(type));
        problem.with_detail("%s.", error->message);
        return;
    }
    StringInfoData path;
    initStringInfo(&path);
    append_path(&path, place);
    problem.set(core::sqlstate::kProtocolViolation, "the answer's value of \"%s\" cannot be cast to type %s", path.data,
                format_type_be(place->type));
    problem.with_detail("Value %s: %s.", shown(place->value), error->message);
}

}  // namespace

Oid require_row_type(Oid type) {
    // A role that calls functions of _steadytext by hand may give a number that is no type's.
    const Oid base = SearchSysCacheExists1(TYPEOID, ObjectIdGetDatum(type)) ? getBaseType(type) : InvalidOid;
    if (!OidIsValid(base) || get_typtype(base) != TYPTYPE_COMPOSITE)
        ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
                        errmsg("%s is not a composite type", format_type_extended(type, -1, FORMAT_TYPE_ALLOW_INVALID)),
                        errhint("Pass a value of a table's or composite type, such as NULL::my_type.")));
    return base;
}

bool make_row(Oid type, HeapTupleHeader base, std::string_view object, Datum &row, core::Problem &problem) {
    const bool apart = kSubtransactionsInParallel || !IsInParallelMode();
    const char *text = pnstrdup(object.data(), object.size());
    auto **innermost = static_cast<const Place **>(palloc0(sizeof(const Place *)));
    Datum *made = &row;
    ErrorData *error = caught(apart, [&] { *made = make_all(type, base, text, innermost); });
    if (error == nullptr)
        return true;
    if (!is_refusal(error))
        ReThrowError(error);
    tell(type, *innermost, error, problem);
    if (!apart)
        ereport(ERROR,
                (errcode(ERRCODE_PROTOCOL_VIOLATION), errmsg("%s", problem.message), errdetail("%s", problem.detail),
                 errhint("In a parallel query this is an error whatever steadytext.on_failure says.")));
    return false;
}

}  // namespace steadytext::pg
