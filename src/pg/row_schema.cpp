// Types to schemas, by the catalogs: see row_schema.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/pg/row_schema.hpp"
#include "src/core/constraint/limits.hpp"
#include "src/pg/row_value.hpp"
#include "src/pg/text.hpp"

extern "C" {
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/typcache.h"
}

namespace steadytext::pg {

namespace {

constexpr int kMaxNesting = 10;
// Types that are made of each other grow as fast as powers: what no call could use is not written out.
constexpr int kMostBytes = static_cast<int>(core::constraint::kMostSchemaBytes);

void append_row(StringInfo out, Oid type, int nesting);

// Labels in their order.
void append_enum(StringInfo out, Oid type) {
    Relation labels = table_open(EnumRelationId, AccessShareLock);
    Relation index = index_open(EnumTypIdSortOrderIndexId, AccessShareLock);
    ScanKeyData key;
    ScanKeyInit(&key, Anum_pg_enum_enumtypid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(type));
    SysScanDesc scan = systable_beginscan_ordered(labels, index, nullptr, 1, &key);
    appendStringInfoString(out, "{\"enum\": [");
    bool first = true;
    for (HeapTuple tuple; HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)); first = false) {
        appendStringInfoString(out, first ? "" : ", ");
        escape_json(out, NameStr(reinterpret_cast<Form_pg_enum>(GETSTRUCT(tuple))->enumlabel));
    }
    appendStringInfoString(out, "]}");
    systable_endscan_ordered(scan);
    index_close(index, AccessShareLock);
    table_close(labels, AccessShareLock);
}

// numeric(precision, scale): what rounds to no more than its digits.
void append_numeric(StringInfo out, int32 modifier) {
    appendStringInfoString(out, "{\"type\": \"number\"");
    if (modifier >= static_cast<int32>(VARHDRSZ)) {
        const int precision = (modifier - VARHDRSZ) >> 16 & 0xffff;
        const int scale = ((modifier - VARHDRSZ) & 0x7ff) ^ 1024;
        const int before_point = precision - (scale - 1024);
        if (before_point > 0 && before_point <= 15)
            appendStringInfo(out, ", \"exclusiveMinimum\": -%s, \"exclusiveMaximum\": %s", psprintf("%.0f", __builtin_pow(10, before_point) - 1),
                             psprintf("%.0f", __builtin_pow(10, before_point) - 1));
    }
    appendStringInfoChar(out, '}');
}

void append_string(StringInfo out, Oid type, int32 modifier) {
    if ((type == VARCHAROID || type == BPCHAROID) && modifier > static_cast<int32>(VARHDRSZ))
        appendStringInfo(out, "{\"type\": \"string\", \"maxLength\": %d}", modifier - static_cast<int32>(VARHDRSZ));
    else
        appendStringInfoString(out, "{\"type\": \"string\"}");
}

const char *schema_of_base(Oid type) {
    switch (type) {
    case BOOLOID:
        return "{\"type\": \"boolean\"}";
    case INT2OID:
        return "{\"type\": \"integer\", \"minimum\": -32768, \"maximum\": 32767}";
    case INT4OID:
        return "{\"type\": \"integer\", \"minimum\": -2147483648, \"maximum\": 2147483647}";
    case INT8OID:
        return "{\"type\": \"integer\", \"minimum\": -9223372036854775808, \"maximum\": 9223372036854775807}";
    case FLOAT4OID:
    case FLOAT8OID:
        return "{\"type\": \"number\"}";
    case DATEOID:
        return "{\"type\": \"string\", \"format\": \"date\"}";
    case TIMEOID:
        return "{\"type\": \"string\", \"format\": \"local-time\"}";
    case TIMETZOID:
        return "{\"type\": \"string\", \"format\": \"time\"}";
    case TIMESTAMPOID:
        return "{\"type\": \"string\", \"format\": \"local-date-time\"}";
    case TIMESTAMPTZOID:
        return "{\"type\": \"string\", \"format\": \"date-time\"}";
    case UUIDOID:
        return "{\"type\": \"string\", \"format\": \"uuid\"}";
    case JSONOID:
    case JSONBOID:
        return "{}";
    default:
        return nullptr;
    }
}

void append_type(StringInfo out, Oid type, int32 modifier, int nesting) {
    check_stack_depth();
    type = getBaseTypeAndTypmod(type, &modifier);
    if (const char *schema = schema_of_base(type)) {
        appendStringInfoString(out, schema);
    } else if (const Oid element = get_element_type(type); OidIsValid(element)) {
        appendStringInfoString(out, "{\"type\": \"array\", \"items\": ");
        append_type(out, element, modifier, nesting);
        appendStringInfoChar(out, '}');
    } else if (type == NUMERICOID) {
        append_numeric(out, modifier);
    } else if (get_typtype(type) == TYPTYPE_ENUM) {
        append_enum(out, type);
    } else if (get_typtype(type) == TYPTYPE_COMPOSITE) {
        append_row(out, type, nesting + 1);
    } else {
        append_string(out, type, modifier);
    }
}

// A column may be null unless it, or its domain, says otherwise.
bool may_be_null(Form_pg_attribute column) {
    if (column->attnotnull)
        return false;
    return get_typtype(column->atttypid) != TYPTYPE_DOMAIN || !DomainHasConstraints(column->atttypid);
}

void append_row(StringInfo out, Oid type, int nesting) {
    if (nesting > kMaxNesting)
        ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("type %s is nested too deeply", format_type_be(type))));
    TupleDesc row = lookup_rowtype_tupdesc_domain(type, -1, false);
    StringInfoData required;
    initStringInfo(&required);
    appendStringInfoString(out, "{\"type\": \"object\", \"properties\": {");
    for (int i = 0; i < row->natts; i++) {
        const Form_pg_attribute column = TupleDescAttr(row, i);
        if (column->attisdropped)
            continue;
        CHECK_FOR_INTERRUPTS();
        if (out->len > kMostBytes)
            ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("type %s is too large", format_type_be(type)),
                            errdetail("Its JSON schema has more than %d bytes.", kMostBytes)));
        if (required.len > 0) {
            appendStringInfoString(out, ", ");
            appendStringInfoString(&required, ", ");
        }
        escape_json(out, NameStr(column->attname));
        escape_json(&required, NameStr(column->attname));
        const bool nullable = may_be_null(column);
        appendStringInfoString(out, nullable ? ": {\"anyOf\": [" : ": ");
        append_type(out, column->atttypid, column->atttypmod, nesting);
        appendStringInfoString(out, nullable ? ", {\"type\": \"null\"}]}" : "");
    }
    ReleaseTupleDesc(row);
    appendStringInfo(out, "}, \"required\": [%s], \"additionalProperties\": false}", required.data);
}

}  // namespace

std::string_view row_schema(Oid type) {
    const Oid base = require_row_type(type);
    StringInfoData out;
    initStringInfo(&out);
    append_row(&out, base, 0);
    const char *utf8 = pg_server_to_any(out.data, out.len, PG_UTF8);
    return utf8;
}

}  // namespace steadytext::pg
