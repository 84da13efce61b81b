// The validator table as SQL sees it: the check that SQL functions make of their arguments, and its rows. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/guc.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/result_row.hpp"
#include "src/pg/text.hpp"
#include "src/session/arguments.hpp"

namespace {

using namespace steadytext;
using core::Fault;
using core::Kind;
using core::Parameter;

// ---- rows ----------------------------------------------------------------------------------------------------------

const char *name_of(Kind kind) {
    constexpr const char *kNames[] = {"any", "flag", "integer", "real", "text", "texts", "interval", "options"};
    return kNames[static_cast<int>(kind)];
}

const char *name_of(core::Form form) {
    constexpr const char *kNames[] = {"free", "prose", "line"};
    return kNames[static_cast<int>(form)];
}

bool has_bounds(const core::Rule &rule) {
    return rule.kind != Kind::Any && rule.kind != Kind::Flag && rule.kind != Kind::Options;
}

// SQLSTATE and message of a fault, with a space between.
pg::Column fault_column(const Parameter &row, Fault fault, bool is_possible) {
    if (!is_possible)
        return pg::null_column();
    core::Problem problem;
    (void)core::refuse(row.rule, row.shown(), fault, static_cast<std::size_t>(guc::max_prompt_bytes), problem);
    return pg::words(psprintf("%s %s", problem.sqlstate, problem.message));
}

// A row of _steadytext.parameters().
void put_row(ReturnSetInfo *result, const char *owner, const Parameter &row) {
    const core::Rule &rule = row.rule;
    const bool bounded = has_bounds(rule);
    const std::int64_t most = rule.most == core::kLongestPrompt ? guc::max_prompt_bytes : rule.most;
    pg::put_row(result,
                {pg::words(owner),
                 pg::words(row.name),
                 pg::words(name_of(rule.kind)),
                 pg::words(name_of(rule.form)),
                 BoolGetDatum(rule.needed),
                 {Int64GetDatum(rule.least), bounded},
                 {Int64GetDatum(most), bounded},
                 pg::words(rule.words),
                 pg::words(row.setting),
                 pg::words(rule.element != nullptr && rule.element->needed ? rule.element->null.message : nullptr),
                 pg::words(rule.sample),
                 pg::words(rule.bad_sample),
                 fault_column(row, Fault::Null, rule.needed),
                 fault_column(row, Fault::Below, bounded),
                 fault_column(row, Fault::Above, bounded),
                 fault_column(row, Fault::Malformed, rule.words != nullptr || rule.malformed.message != nullptr),
                 BoolGetDatum(rule.distinct)});
}

}  // namespace

// Called by SQL functions with their own name and all their arguments.
STEADYTEXT_FUNCTION(steadytext_check) {
    if (PG_ARGISNULL(0))
        ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("function cannot be null")));
    session::require_arguments(TextDatumGetCString(PG_GETARG_DATUM(0)), fcinfo, 1);
    PG_RETURN_VOID();
}

// Checks a key and its value as steadytext_config_set does.
STEADYTEXT_FUNCTION(steadytext_check_config) {
    const std::string_view key = pg::utf8_text(PG_GETARG_DATUM(0));
    const std::string_view value = pg::utf8_text(PG_GETARG_DATUM(1));
    const std::span<const Parameter> rows = core::arguments_of("steadytext_config_set");
    session::require(rows[0].rule, key);
    session::require(rows[1].rule, value);
    pg::guarded([&](core::Problem &problem) { return core::check_config(key, value, problem); });
    PG_RETURN_VOID();
}

STEADYTEXT_FUNCTION(steadytext_parameters) {
    ReturnSetInfo *result = pg::materialize(fcinfo);
    for (const Parameter &row : core::arguments()) {
        put_row(result, row.owner, row);
        if (strncmp(row.owner, "steadytext_", 11) == 0)
            for (const char *form : {"st_%s", "_steadytext.%s"})
                if (const char *alias = psprintf(form, row.owner + 11);
                    core::arguments_of(alias).data() == core::arguments_of(row.owner).data())
                    put_row(result, alias, row);
        for (const Parameter *option = row.rule.options; option != nullptr && option->name != nullptr; option++)
            put_row(result, psprintf("%s(%s)", row.owner, row.name), *option);
    }
    for (const Parameter &row : core::config_keys())
        put_row(result, row.owner, row);
    for (const Parameter &row : core::settings())
        put_row(result, row.owner, row);
    return static_cast<Datum>(0);
}
