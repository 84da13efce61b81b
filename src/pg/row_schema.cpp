// Turns types into schemas, from the catalogs: see row_schema.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/pg/row_schema.hpp"
#include "src/core/constraint/limits.hpp"
#include "src/core/constraint/schema.hpp"
#include "src/pg/check_demands.hpp"
#include "src/pg/interrupts.hpp"
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

#include <algorithm>
#include <cstdint>
#include <string>

namespace steadytext::pg {

namespace {

constexpr int kMaxNesting = 10;
// The schema of nested types can grow exponentially, so a schema that no call could use is not completed.
constexpr int kMaxBytes = static_cast<int>(core::constraint::kMaxSchemaBytes);

// Which CHECKs are written: all that are understood, only CHECKs that prove usable by themselves, or none.
enum class Checks { All, Tried, None };

struct Writer {
    StringInfo out;
    Checks checks;
    bool has_checks = false;                                     // at least one CHECK was written
    std::uint64_t steps = core::constraint::kMaxCompilingSteps;  // steps of work left for trying CHECKs
};

void append_row(Writer &writer, Oid type, int nesting);

// Whether a whole schema or a part of it can be compiled. A single CHECK may cost a tenth of what a schema may cost, as
// the rest is for the answers; all CHECKs together may cost as much as a schema.
bool is_usable(const char *schema, int length, std::uint64_t &steps) {
    const char *utf8 = pg_server_to_any(schema, length, PG_UTF8);
    core::Work work = interruptible(std::min(steps, core::constraint::kMaxCompilingSteps / 10));
    core::Problem ignored;
    const bool usable = try_worked(ignored, work, "the schema of a row", [&](core::Problem &problem) {
        core::constraint::Network network;
        return core::constraint::compile_schema(utf8, network, problem, &work);
    });
    steps -= std::min(steps, work.used());
    return usable;
}

// ---- scalars -------------------------------------------------------------------------------------------------------

const char *text_of(Numeric number) {
    return DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(number)));
}

Numeric number_of(const char *digits) {
    return DatumGetNumeric(
        DirectFunctionCall3(numeric_in, CStringGetDatum(digits), ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
}

// The labels in their order.
void append_labels(StringInfo out, Oid type) {
    Relation labels = table_open(EnumRelationId, AccessShareLock);
    Relation index = index_open(EnumTypIdSortOrderIndexId, AccessShareLock);
    ScanKeyData key;
    ScanKeyInit(&key, Anum_pg_enum_enumtypid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(type));
    SysScanDesc scan = systable_beginscan_ordered(labels, index, nullptr, 1, &key);
    appendStringInfoString(out, "\"enum\": [");
    bool first = true;
    for (HeapTuple tuple; HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection));
         first = false) {
        appendStringInfoString(out, first ? "" : ", ");
        escape_json(out, NameStr(reinterpret_cast<Form_pg_enum>(GETSTRUCT(tuple))->enumlabel));
    }
    appendStringInfoChar(out, ']');
    systable_endscan_ordered(scan);
    index_close(index, AccessShareLock);
    table_close(labels, AccessShareLock);
}

void append_values(StringInfo out, List *values) {
    appendStringInfoString(out, "\"enum\": [");
    ListCell *cell;
    foreach (cell, values) {
        CHECK_FOR_INTERRUPTS();
        appendStringInfo(out, foreach_current_index(cell) > 0 ? ", %s" : "%s", static_cast<const char *>(lfirst(cell)));
    }
    appendStringInfoChar(out, ']');
}

void append_bound(StringInfo out, const NumberBound &bound, const char *inclusive, const char *exclusive) {
    if (bound.is_set)
        appendStringInfo(out, ", \"%s\": %s", bound.exclusive ? exclusive : inclusive, text_of(bound.value));
}

bool is_number(Oid type) {
    return type == INT2OID || type == INT4OID || type == INT8OID || type == NUMERICOID || type == FLOAT4OID ||
           type == FLOAT8OID;
}

bool is_integer(Oid type) { return type == INT2OID || type == INT4OID || type == INT8OID; }

// The demands of the type itself: integers have a range, numeric(precision, scale) must not round to more digits, texts
// have a length.
void add_type_demands(Oid type, int32 modifier, Demands &demands) {
    if (is_integer(type)) {
        const char *limit = type == INT2OID ? "32768" : type == INT4OID ? "2147483648" : "9223372036854775808";
        demands.at_least(number_of(psprintf("-%s", limit)), false);
        const char *most = type == INT2OID ? "32767" : type == INT4OID ? "2147483647" : "9223372036854775807";
        demands.at_most(number_of(most), false);
    } else if (type == NUMERICOID && modifier >= static_cast<int32>(VARHDRSZ)) {
        const int precision = (modifier - VARHDRSZ) >> 16 & 0xffff;
        const int scale = ((modifier - VARHDRSZ) & 0x7ff) ^ 1024;
        const int before_point = precision - (scale - 1024);
        if (before_point > 0 && before_point <= 15) {
            const char *most = psprintf("%.0f", __builtin_pow(10, before_point) - 1);
            demands.at_least(number_of(psprintf("-%s", most)), true);
            demands.at_most(number_of(most), true);
        }
    } else if ((type == VARCHAROID || type == BPCHAROID) && modifier > static_cast<int32>(VARHDRSZ)) {
        const int most = modifier - static_cast<int32>(VARHDRSZ);
        demands.longest = demands.longest < 0 ? most : std::min(demands.longest, most);
    }
}

void append_number(StringInfo out, Oid type, const Demands &demands) {
    appendStringInfo(out, "{\"type\": \"%s\"", is_integer(type) ? "integer" : "number");
    if (demands.is_listed) {
        appendStringInfoString(out, ", ");
        append_values(out, demands.values);
    }
    append_bound(out, demands.least, "minimum", "exclusiveMinimum");
    append_bound(out, demands.most, "maximum", "exclusiveMaximum");
    appendStringInfoChar(out, '}');
}

void append_string(StringInfo out, const Demands &demands) {
    appendStringInfoString(out, "{\"type\": \"string\"");
    if (demands.is_listed) {
        appendStringInfoString(out, ", ");
        append_values(out, demands.values);
    }
    if (demands.shortest > 0 && !demands.is_of_any_length)
        appendStringInfo(out, ", \"minLength\": %d", demands.shortest);
    // A pattern may limit the length already: then maxLength is left out.
    if (demands.longest >= 0 && !demands.is_of_any_length &&
        (demands.pattern == nullptr || demands.longest_match < 0 || demands.longest_match > demands.longest))
        appendStringInfo(out, ", \"maxLength\": %d", demands.longest);
    if (demands.pattern != nullptr) {
        appendStringInfoString(out, ", \"pattern\": ");
        escape_json(out, demands.pattern);
    }
    appendStringInfoChar(out, '}');
}

// A date, or a time with a date. The pattern has all of the form too, for engines that heed the pattern and not the
// format.
void append_day(StringInfo out, Oid type, const Demands &demands) {
    appendStringInfo(out, "{\"type\": \"string\", \"format\": \"%s\"",
                     type == DATEOID        ? "date"
                     : type == TIMESTAMPOID ? "local-date-time"
                                            : "date-time");
    if (demands.has_days()) {
        appendStringInfoString(out, ", \"pattern\": ");
        escape_json(out, psprintf(type == DATEOID        ? "^%s$"
                                  : type == TIMESTAMPOID ? "^%s[Tt ][\\d:.]+$"
                                                         : "^%s[Tt][\\d:.]+(?:[Zz]|[+-][\\d:]+)$",
                                  demands.days()));
    }
    appendStringInfoChar(out, '}');
}

const char *schema_of_plain(Oid type) {
    switch (type) {
    case BOOLOID:
        return "{\"type\": \"boolean\"}";
    case TIMEOID:
        return "{\"type\": \"string\", \"format\": \"local-time\"}";
    case TIMETZOID:
        return "{\"type\": \"string\", \"format\": \"time\"}";
    case UUIDOID:
        return "{\"type\": \"string\", \"format\": \"uuid\"}";
    case JSONOID:
    case JSONBOID:
        return "{}";
    default:
        return nullptr;
    }
}

// A type that is not made of other types. `demands` come from the CHECKs.
void append_scalar(StringInfo out, Oid type, int32 modifier, Demands demands) {
    add_type_demands(type, modifier, demands);
    if (const char *schema = schema_of_plain(type)) {
        appendStringInfoString(out, schema);
    } else if (type == DATEOID || type == TIMESTAMPOID || type == TIMESTAMPTZOID) {
        append_day(out, type, demands);
    } else if (is_number(type)) {
        append_number(out, type, demands);
    } else if (get_typtype(type) == TYPTYPE_ENUM) {
        appendStringInfoChar(out, '{');
        if (demands.is_listed)
            append_values(out, demands.values);
        else
            append_labels(out, type);
        appendStringInfoChar(out, '}');
    } else {
        append_string(out, demands);
    }
}

// As append_scalar(), but without the demands if no value satisfies them.
void append_checked(Writer &writer, Oid type, int32 modifier, const Demands &demands) {
    Demands all = demands;
    add_type_demands(type, modifier, all);
    const int begin = writer.out->len;
    // False if it is tried and of no use.
    const auto append = [&](const Demands &some) {
        writer.out->len = begin;
        append_scalar(writer.out, type, modifier, some);
        return writer.checks != Checks::Tried ||
               is_usable(writer.out->data + begin, writer.out->len - begin, writer.steps);
    };
    if (writer.checks != Checks::None && !all.is_impossible() && demands.has_any()) {
        writer.has_checks = true;
        if (append(demands) || (demands.pattern != nullptr && append(demands.without_length())))
            return;
    }
    writer.out->len = begin;
    append_scalar(writer.out, type, modifier, Demands());
}

// ---- types made of other types -------------------------------------------------------------------------------------

// `demands`: from the type's own domain and from the column.
void append_type(Writer &writer, Oid type, int32 modifier, const Demands &demands, int nesting) {
    check_stack_depth();
    type = getBaseTypeAndTypmod(type, &modifier);
    if (const Oid element = get_element_type(type); OidIsValid(element)) {
        Demands of_element;
        add_domain_demands(element, of_element);
        appendStringInfoString(writer.out, "{\"type\": \"array\", \"items\": ");
        append_type(writer, element, modifier, of_element, nesting);
        appendStringInfoChar(writer.out, '}');
    } else if (get_typtype(type) == TYPTYPE_COMPOSITE) {
        append_row(writer, type, nesting + 1);
    } else {
        append_checked(writer, type, modifier, demands);
    }
}

// The table fills the column, and its domain allows NULL until then.
bool is_filled_by_table(Form_pg_attribute column, const Demands &domain) {
    return (column->attidentity != '\0' || column->attgenerated != '\0' || column->atthasdef) && domain.is_all &&
           !domain.refuses_null;
}

void append_row(Writer &writer, Oid type, int nesting) {
    if (nesting > kMaxNesting)
        ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                        errmsg("type %s is nested too deeply", format_type_be(type))));
    StringInfo out = writer.out;
    TupleDesc row = lookup_rowtype_tupdesc_domain(type, -1, false);
    List *conditions = row_conditions(row);
    StringInfoData required;
    initStringInfo(&required);
    appendStringInfoString(out, "{\"type\": \"object\", \"properties\": {");
    for (int i = 0; i < row->natts; i++) {
        const Form_pg_attribute column = TupleDescAttr(row, i);
        Demands demands;
        if (!column->attisdropped)
            add_domain_demands(column->atttypid, demands);
        if (column->attisdropped || is_filled_by_table(column, demands))
            continue;
        CHECK_FOR_INTERRUPTS();
        if (out->len > kMaxBytes && writer.checks == Checks::None)
            ereport(ERROR,
                    (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("type %s is too large", format_type_be(type)),
                     errdetail("Its JSON schema has more than %d bytes.", kMaxBytes)));
        if (out->len > kMaxBytes)
            break;  // too large to use, as is_usable() will find
        add_column_demands(conditions, column, demands);
        if (required.len > 0) {
            appendStringInfoString(out, ", ");
            appendStringInfoString(&required, ", ");
        }
        escape_json(out, NameStr(column->attname));
        escape_json(&required, NameStr(column->attname));
        const bool nullable = demands.is_all && !demands.refuses_null;
        appendStringInfoString(out, nullable ? ": {\"anyOf\": [" : ": ");
        append_type(writer, column->atttypid, column->atttypmod, demands, nesting);
        appendStringInfoString(out, nullable ? ", {\"type\": \"null\"}]}" : "");
    }
    ReleaseTupleDesc(row);
    appendStringInfo(out, "}, \"required\": [%s], \"additionalProperties\": false}", required.data);
}

struct Text {
    const char *data;
    int length;
    bool has_checks;
};

Text write(Oid type, Checks checks) {
    StringInfoData out;
    initStringInfo(&out);
    Writer writer{.out = &out, .checks = checks};
    append_row(writer, type, 0);
    return {out.data, out.len, writer.has_checks};
}

bool is_usable(const Text &schema) {
    std::uint64_t steps = core::constraint::kMaxCompilingSteps;
    return schema.length <= kMaxBytes && is_usable(schema.data, schema.length, steps);
}

// The schema with as many of the CHECKs as can be used.
Text write_usable(Oid type, const Text &all) {
    if (is_usable(all))
        return all;
    const Text tried = write(type, Checks::Tried);
    return is_usable(tried) ? tried : write(type, Checks::None);
}

}  // namespace

std::string_view row_schema(Oid type) {
    const Oid base = require_row_type(type);
    // A statement calls this for each row with the same type, so the last result is kept.
    static std::string *last = new std::string, *usable = new std::string;
    Text schema = write(base, Checks::All);
    if (schema.has_checks || schema.length > kMaxBytes) {
        if (*last == std::string_view(schema.data, static_cast<std::size_t>(schema.length)))
            schema = {pnstrdup(usable->data(), usable->size()), static_cast<int>(usable->size()), true};
        else {
            const Text all = schema;
            schema = write_usable(base, all);
            guarded([&] {
                last->clear();
                usable->assign(schema.data, static_cast<std::size_t>(schema.length));
                last->assign(all.data, static_cast<std::size_t>(all.length));
            });
        }
    }
    return pg_server_to_any(schema.data, schema.length, PG_UTF8);
}

}  // namespace steadytext::pg
