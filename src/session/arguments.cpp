// See arguments.hpp. Regime: pg.
#include "src/pg/postgres.hpp"
#include "src/session/arguments.hpp"
#include "src/core/nfc.hpp"
#include "src/guc.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/interrupts.hpp"
#include "src/pg/jsonb.hpp"
#include "src/pg/text.hpp"
#include "src/pg/text_array.hpp"

extern "C" {
#include "catalog/pg_type.h"
#include "utils/timestamp.h"
}

#include <string>

namespace steadytext::session {

namespace {

using core::Value;

// A month counts as thirty days.
std::int64_t microseconds(const Interval &interval) {
    return interval.time + (std::int64_t{interval.month} * DAYS_PER_MONTH + interval.day) * USECS_PER_DAY;
}

Value value_of(Datum datum, Oid type) {
    switch (type) {
    case INT4OID:
        return DatumGetInt32(datum);
    case INT8OID:
        return std::int64_t{DatumGetInt64(datum)};
    case FLOAT8OID:
        return DatumGetFloat8(datum);
    case TEXTOID:
        return pg::utf8_text(datum);
    case NAMEOID:
        return std::string_view(NameStr(*DatumGetName(datum)));
    case INTERVALOID:
        return microseconds(*DatumGetIntervalP(datum));
    case TEXTARRAYOID:
        return pg::texts_of(DatumGetArrayTypeP(datum));
    case JSONBOID:
        return pg::json_text(DatumGetJsonbP(datum));
    case BOOLOID:
        return Value::flag();
    default:
        return Value::foreign();
    }
}

}  // namespace

void require(const core::Rule &rule, const char *name, const core::Value &value) {
    pg::guarded([&](core::Problem &problem) {
        return core::check(rule, name, value, static_cast<std::size_t>(guc::max_prompt_bytes), problem);
    });
}

void require(const core::Rule &rule, const core::Value &value) { require(rule, rule.name, value); }

bool meets(const core::Rule &rule, const core::Value &value) {
    core::Problem problem;
    return pg::try_guarded(problem, [&](core::Problem &p) {
        return core::check(rule, rule.name, value, static_cast<std::size_t>(guc::max_prompt_bytes), p);
    });
}

void require_arguments(const char *function, FunctionCallInfo fcinfo, int first) {
    const std::span<const core::Parameter> rows = core::arguments_of(function);
    if (get_fn_expr_variadic(fcinfo->flinfo) || rows.size() != static_cast<std::size_t>(PG_NARGS() - first))
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("the arguments of \"%.100s\" are not those in src/core/parameters.cpp", function)));
    for (int i = first; i < PG_NARGS(); i++) {
        const core::Parameter &row = rows[static_cast<std::size_t>(i - first)];
        const Value value =
            PG_ARGISNULL(i) ? Value() : value_of(PG_GETARG_DATUM(i), get_fn_expr_argtype(fcinfo->flinfo, i));
        require(row.rule, row.shown(), value);
    }
}

std::string_view normalized(std::string_view text, const char *what) {
    static std::string *buffer = new std::string;
    if (!guc::normalize_prompts)
        return text;
    core::Work work = pg::interruptible();
    pg::worked(work, what, [&](core::Problem &) {
        text = core::nfc(text, *buffer, work);
        return true;
    });
    return text.data() == buffer->data() ? pg::copy_text(text) : text;
}

}  // namespace steadytext::session
