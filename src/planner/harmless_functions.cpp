// Lists of functions, and rules for their constants: see harmless_functions.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/planner/harmless_functions.hpp"
#include "src/pg/nodes.hpp"

extern "C" {
#include "access/transam.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "regex/regex.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
}

// Since PostgreSQL 18 there is another reverse(), so the text function has its argument in its name.
#ifndef F_REVERSE
#define F_REVERSE F_REVERSE_TEXT
#endif

#include <algorithm>
#include <optional>
#include <span>
#include <string_view>

namespace steadytext::planner {

namespace {

// Beside PostgreSQL's own functions that it calls leakproof. Not `any || text`, an SQL function that casts its argument as the
// argument's owner likes: of plain types, the planner has put its body in its place.
constexpr Oid kHarmless[] = {
    F_TEXTCAT,
    F_LOWER_TEXT,
    F_UPPER_TEXT,
    F_INITCAP,
    F_BTRIM_TEXT,
    F_BTRIM_TEXT_TEXT,
    F_LTRIM_TEXT,
    F_LTRIM_TEXT_TEXT,
    F_RTRIM_TEXT,
    F_RTRIM_TEXT_TEXT,
    F_LEFT,
    F_RIGHT,
    F_LENGTH_TEXT,
    F_CHAR_LENGTH_TEXT,
    F_OCTET_LENGTH_TEXT,
    F_MD5_TEXT,
    F_STRPOS,
    F_POSITION_TEXT_TEXT,
    F_STARTS_WITH,
    3062,  // reverse(text), whose name here differs between versions
    F_TRANSLATE,
    F_SUBSTR_TEXT_INT4,
    F_SUBSTRING_TEXT_INT4,
    F_TEXT_BPCHAR,
    F_TEXT_NAME,
    F_JSONB_OBJECT_FIELD,
    F_JSONB_OBJECT_FIELD_TEXT,
    F_JSONB_ARRAY_ELEMENT_TEXT,
    F_JSONB_EXTRACT_PATH,
    F_JSONB_EXTRACT_PATH_TEXT,
    F_JSONB_CONTAINS,
    F_JSONB_EXISTS,
    F_JSONB_EXISTS_ANY,
    F_JSONB_EXISTS_ALL,
    F_ENUM_EQ,
    F_ENUM_NE,
    F_NOW,
    F_TRANSACTION_TIMESTAMP,
    F_STATEMENT_TIMESTAMP,
    F_DATE_TIMESTAMP,
    F_DATE_TIMESTAMPTZ,
    F_NUMERIC_EQ,
    F_NUMERIC_NE,
    F_NUMERIC_LT,
    F_NUMERIC_LE,
    F_NUMERIC_GT,
    F_NUMERIC_GE,
    F_UNNEST_ANYARRAY,
    F_GENERATE_SERIES_INT4_INT4,
};

// A value that is too early or too late for the other type is compared all the same.
constexpr Oid kComparisonsOfTimes[] = {
    F_DATE_LT_TIMESTAMP,        F_DATE_LE_TIMESTAMP,        F_DATE_EQ_TIMESTAMP,        F_DATE_GT_TIMESTAMP,
    F_DATE_GE_TIMESTAMP,        F_DATE_NE_TIMESTAMP,        F_DATE_LT_TIMESTAMPTZ,      F_DATE_LE_TIMESTAMPTZ,
    F_DATE_EQ_TIMESTAMPTZ,      F_DATE_GT_TIMESTAMPTZ,      F_DATE_GE_TIMESTAMPTZ,      F_DATE_NE_TIMESTAMPTZ,
    F_TIMESTAMP_LT_DATE,        F_TIMESTAMP_LE_DATE,        F_TIMESTAMP_EQ_DATE,        F_TIMESTAMP_GT_DATE,
    F_TIMESTAMP_GE_DATE,        F_TIMESTAMP_NE_DATE,        F_TIMESTAMPTZ_LT_DATE,      F_TIMESTAMPTZ_LE_DATE,
    F_TIMESTAMPTZ_EQ_DATE,      F_TIMESTAMPTZ_GT_DATE,      F_TIMESTAMPTZ_GE_DATE,      F_TIMESTAMPTZ_NE_DATE,
    F_TIMESTAMP_LT_TIMESTAMPTZ, F_TIMESTAMP_LE_TIMESTAMPTZ, F_TIMESTAMP_EQ_TIMESTAMPTZ, F_TIMESTAMP_GT_TIMESTAMPTZ,
    F_TIMESTAMP_GE_TIMESTAMPTZ, F_TIMESTAMP_NE_TIMESTAMPTZ, F_TIMESTAMPTZ_LT_TIMESTAMP, F_TIMESTAMPTZ_LE_TIMESTAMP,
    F_TIMESTAMPTZ_EQ_TIMESTAMP, F_TIMESTAMPTZ_GT_TIMESTAMP, F_TIMESTAMPTZ_GE_TIMESTAMP, F_TIMESTAMPTZ_NE_TIMESTAMP,
};

constexpr Oid kHarmlessAggregates[] = {
    F_COUNT_,
    F_COUNT_ANY,
    F_BOOL_AND,
    F_BOOL_OR,
    F_EVERY,
    F_STRING_AGG_TEXT_TEXT,
    F_ARRAY_AGG_ANYNONARRAY,
    F_SUM_INT2,
    F_SUM_INT4,
    F_SUM_INT8,
    F_AVG_INT2,
    F_AVG_INT4,
    F_AVG_INT8,
    F_MIN_INT2,
    F_MIN_INT4,
    F_MIN_INT8,
    F_MIN_FLOAT4,
    F_MIN_FLOAT8,
    F_MIN_NUMERIC,
    F_MIN_TEXT,
    F_MIN_DATE,
    F_MIN_TIMESTAMP,
    F_MIN_TIMESTAMPTZ,
    F_MAX_INT2,
    F_MAX_INT4,
    F_MAX_INT8,
    F_MAX_FLOAT4,
    F_MAX_FLOAT8,
    F_MAX_NUMERIC,
    F_MAX_TEXT,
    F_MAX_DATE,
    F_MAX_TIMESTAMP,
    F_MAX_TIMESTAMPTZ,
};

constexpr Oid kHarmlessOfWindows[] = {
    F_ROW_NUMBER,          F_RANK_,           F_DENSE_RANK_,          F_PERCENT_RANK_, F_CUME_DIST_, F_LAG_ANYELEMENT,
    F_LAG_ANYELEMENT_INT4, F_LEAD_ANYELEMENT, F_LEAD_ANYELEMENT_INT4, F_FIRST_VALUE,   F_LAST_VALUE,
};

bool is_among(std::span<const Oid> list, Oid oid) { return std::find(list.begin(), list.end(), oid) != list.end(); }

const Node *argument(const List *arguments, int number) {
    return number < list_length(arguments) ? static_cast<const Node *>(list_nth(arguments, number)) : nullptr;
}

// Null if the argument is anything else, or NULL.
const Const *constant(const List *arguments, int number) {
    const Node *node = argument(arguments, number);
    const auto *value = node != nullptr && IsA(node, Const) ? reinterpret_cast<const Const *>(node) : nullptr;
    return value != nullptr && !value->constisnull ? value : nullptr;
}

std::optional<std::int32_t> integer(const List *arguments, int number) {
    const Const *value = constant(arguments, number);
    if (value == nullptr || value->consttype != INT4OID)
        return std::nullopt;
    return DatumGetInt32(value->constvalue);
}

std::optional<std::string_view> constant_text(const List *arguments, int number) {
    const Const *value = constant(arguments, number);
    if (value == nullptr || value->consttype != TEXTOID)
        return std::nullopt;
    const text *bytes = DatumGetTextPP(value->constvalue);
    return std::string_view(VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
}

// ---- texts ----------------------------------------------------------------------------------------------------------

// LIKE takes any pattern unless it ends in its escape.
bool is_pattern(std::optional<std::string_view> pattern) {
    return pattern.has_value() && pattern->find('\\') == std::string_view::npos;
}

// Put in many places of a text it makes no text of a gigabyte, unless that has tens of megabytes.
bool is_short(std::optional<std::string_view> constant) {
    constexpr std::size_t kMaxBytes = 32;
    return constant.has_value() && constant->size() <= kMaxBytes;
}

// A regular expression that is short, counts no repetitions and refers to no groups: made in little time, so it is tried.
bool is_regular_expression(std::optional<std::string_view> pattern, Oid collation, const Ground &ground) {
    constexpr std::size_t kMaxBytes = 200;
    constexpr int kLooksPerByte = 50;
    if (!pattern.has_value() || pattern->size() > kMaxBytes || pattern->find('{') != std::string_view::npos)
        return false;
    for (std::size_t i = 0; i + 1 < pattern->size(); i++)
        if ((*pattern)[i] == '\\' && (*pattern)[i + 1] >= '1' && (*pattern)[i + 1] <= '9')
            return false;
    *ground.looks -= static_cast<int>(pattern->size()) * kLooksPerByte;
    if (!looks_on(ground))
        return false;
    auto *wide = static_cast<pg_wchar *>(palloc((pattern->size() + 1) * sizeof(pg_wchar)));
    const int length = pg_mb2wchar_with_len(pattern->data(), wide, static_cast<int>(pattern->size()));
    regex_t made;
    const bool is = pg_regcomp(&made, wide, static_cast<std::size_t>(length), REG_ADVANCED, collation) == REG_OKAY;
    if (is)
        pg_regfree(&made);
    pfree(wide);
    return is;
}

bool is_replacement(const List *arguments, Oid collation, const Ground &ground) {
    const auto flags = list_length(arguments) < 4 ? std::string_view("") : constant_text(arguments, 3);
    return is_regular_expression(constant_text(arguments, 1), collation, ground) &&
           is_short(constant_text(arguments, 2)) && is_pattern(constant_text(arguments, 2)) && flags.has_value() &&
           flags->find_first_not_of("gi") == std::string_view::npos;
}

bool is_plain(const Node *value) {
    return has_plain_text(exprType(value)) || (IsA(value, Const) && exprType(value) == UNKNOWNOID);
}

// Functions of "any" type write their arguments as text.
bool are_plain(const List *arguments) {
    for (const Node *each : pg::each<const Node>(arguments))
        if (!is_plain(each))
            return false;
    return true;
}

// Of format(): nothing but %s and %%, and an argument for each.
bool is_format(const List *arguments) {
    const auto format = constant_text(arguments, 0);
    if (!format.has_value() || !are_plain(arguments))
        return false;
    int wanted = 0;
    for (std::size_t i = 0; i < format->size(); i++) {
        if ((*format)[i] != '%')
            continue;
        if (++i == format->size() || ((*format)[i] != 's' && (*format)[i] != '%'))
            return false;
        wanted += (*format)[i] == 's' ? 1 : 0;
    }
    return wanted < list_length(arguments);
}

bool has_plain_elements(const List *arguments) {
    const Node *array = argument(arguments, 0);
    const Oid element = array != nullptr ? get_element_type(exprType(array)) : InvalidOid;
    return OidIsValid(element) && element != JSONOID && has_plain_text(element);
}

// ---- times ----------------------------------------------------------------------------------------------------------

bool is_time_of(const List *arguments, int number) {
    const Node *node = argument(arguments, number);
    return node != nullptr && is_time(node);
}

// A distance from now that no calendar ends before.
bool is_near(const Const *interval) {
    constexpr std::int64_t kYears = 1000;
    if (interval == nullptr || interval->consttype != INTERVALOID)
        return false;
    const Interval *distance = DatumGetIntervalP(interval->constvalue);
    return std::llabs(distance->month) <= kYears * 12 && std::llabs(distance->day) <= kYears * 366 &&
           distance->time / USECS_PER_DAY >= -kYears * 366 && distance->time / USECS_PER_DAY <= kYears * 366;
}

bool is_near(std::optional<std::int32_t> days) { return days.has_value() && std::llabs(*days) <= 366'000; }

bool is_unit(std::optional<std::string_view> unit) {
    constexpr std::string_view kUnits[] = {"minute", "hour", "day", "week", "month", "quarter", "year"};
    return unit.has_value() && std::find(std::begin(kUnits), std::end(kUnits), *unit) != std::end(kUnits);
}

}  // namespace

bool is_harmless_call(Oid function, const List *arguments, Oid collation, const Ground &ground) {
    switch (function) {
    case F_INT4MOD:
    case F_INT4DIV:
        return integer(arguments, 1).value_or(0) > 0;
    case F_SUBSTR_TEXT_INT4_INT4:
    case F_SUBSTRING_TEXT_INT4_INT4:
        return integer(arguments, 2).value_or(-1) >= 0;
    case F_REPLACE:
        return is_short(constant_text(arguments, 2));
    case F_SPLIT_PART:
        return integer(arguments, 2).value_or(0) > 0;
    case F_TEXTLIKE:
    case F_TEXTNLIKE:
    case F_TEXTICLIKE:
    case F_TEXTICNLIKE:
        return is_pattern(constant_text(arguments, 1));
    case F_TEXTREGEXEQ:
    case F_TEXTREGEXNE:
    case F_TEXTICREGEXEQ:
    case F_TEXTICREGEXNE:
        return is_regular_expression(constant_text(arguments, 1), collation, ground);
    case F_REGEXP_REPLACE_TEXT_TEXT_TEXT:
    case F_REGEXP_REPLACE_TEXT_TEXT_TEXT_TEXT:
        return is_replacement(arguments, collation, ground);
    case F_CONCAT:
    case F_CONCAT_WS:
        return are_plain(arguments);
    case F_FORMAT_TEXT_ANY:
        return is_format(arguments);
    case F_ARRAYOVERLAP:
    case F_ARRAYCONTAINS:
    case F_ARRAYCONTAINED:
        return has_plain_elements(arguments);
    case F_ARRAY_TO_STRING_ANYARRAY_TEXT:
        return has_plain_elements(arguments) && is_short(constant_text(arguments, 1));
    case F_TIMESTAMPTZ_PL_INTERVAL:
    case F_TIMESTAMPTZ_MI_INTERVAL:
    case F_TIMESTAMP_PL_INTERVAL:
    case F_TIMESTAMP_MI_INTERVAL:
    case F_DATE_PL_INTERVAL:
    case F_DATE_MI_INTERVAL:
        return is_time_of(arguments, 0) && is_near(constant(arguments, 1));
    case F_DATE_PLI:
    case F_DATE_MII:
        return is_time_of(arguments, 0) && is_near(integer(arguments, 1));
    case F_DATE_TRUNC_TEXT_TIMESTAMPTZ:
    case F_DATE_TRUNC_TEXT_TIMESTAMP:
        return is_unit(constant_text(arguments, 0)) && is_time_of(arguments, 1);
    default:
        return is_among(kHarmless, function) || is_harmless_comparison(function);
    }
}

bool is_harmless_comparison(Oid function) {
    return is_among(kHarmless, function) || is_among(kComparisonsOfTimes, function) ||
           (function < FirstGenbkiObjectId && get_func_leakproof(function) &&
            func_volatile(function) != PROVOLATILE_VOLATILE);
}

bool is_harmless_aggregate(Oid function) { return is_among(kHarmlessAggregates, function); }

bool is_harmless_over_windows(Oid function) {
    return is_among(kHarmlessOfWindows, function) || is_harmless_aggregate(function);
}

bool is_time(const Node *node) {
    if (IsA(node, FuncExpr)) {
        const Oid function = reinterpret_cast<const FuncExpr *>(node)->funcid;
        return function == F_NOW || function == F_TRANSACTION_TIMESTAMP || function == F_STATEMENT_TIMESTAMP;
    }
    if (!IsA(node, SQLValueFunction))
        return false;
    const SQLValueFunctionOp value = reinterpret_cast<const SQLValueFunction *>(node)->op;
    return value == SVFOP_CURRENT_DATE || value == SVFOP_CURRENT_TIMESTAMP || value == SVFOP_CURRENT_TIMESTAMP_N ||
           value == SVFOP_LOCALTIMESTAMP || value == SVFOP_LOCALTIMESTAMP_N;
}

bool has_plain_text(Oid type) {
    constexpr Oid kTypes[] = {BOOLOID,    INT2OID,      INT4OID,    INT8OID,     FLOAT4OID,      FLOAT8OID,
                              NUMERICOID, TEXTOID,      VARCHAROID, BPCHAROID,   NAMEOID,        OIDOID,
                              DATEOID,    TIMESTAMPOID, TIMEOID,    INTERVALOID, TIMESTAMPTZOID, UUIDOID,
                              INETOID,    CIDROID,      JSONOID,    JSONBOID};
    return is_among(kTypes, type) || get_typtype(type) == TYPTYPE_ENUM ||
           (OidIsValid(get_element_type(type)) && has_plain_text(get_element_type(type)));
}

}  // namespace steadytext::planner
