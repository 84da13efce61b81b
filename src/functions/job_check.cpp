// Checks the params of an asynchronous call: they hold the arguments of the function that the call stands for, and each
// argument must meet its rule. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/core/job_types.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/jsonb.hpp"
#include "src/session/arguments.hpp"
#include "src/session/models.hpp"

namespace {

using namespace steadytext;
using core::Kind;
using core::Parameter;
using core::Value;

[[noreturn]] void refuse_unknown(const char *type, std::string_view name) {
    const char *known = "";
    for (const Parameter &row : core::job_arguments(type))
        known = psprintf("%s%s%s", known, *known == '\0' ? "" : ", ", row.name);
    core::Problem problem;
    problem.set(core::sqlstate::kInvalidParameterValue, "request type %s has no parameter \"%.*s\"", type,
                static_cast<int>(name.size()), name.data());
    problem.with_hint("It has %s.", known);
    pg::raise(problem);
}

[[noreturn]] void refuse_type(const Parameter &row, const char *must_be) {
    core::Problem problem;
    problem.set(core::sqlstate::kInvalidParameterValue, "%s must be %s", row.name, must_be);
    pg::raise(problem);
}

std::int64_t integer_of(const Parameter &row, const JsonbValue &value) {
    std::int64_t integer;
    if (value.type != jbvNumeric || !pg::to_integer(pg::jsonb_number(value), integer))
        refuse_type(row, "an integer");
    return integer;
}

bool holds_strings(const JsonbValue &array) {
    JsonbIterator *iterator = JsonbIteratorInit(array.val.binary.data);
    JsonbValue token;
    for (JsonbIteratorToken kind; (kind = JsonbIteratorNext(&iterator, &token, true)) != WJB_DONE;)
        if (kind == WJB_ELEM && token.type != jbvString && token.type != jbvNull)
            return false;
    return true;
}

bool is_json(const Parameter &row) { return strcmp(row.name, "schema") == 0; }

// A JSON null counts as NULL.
Value value_of(const Parameter &row, JsonbValue &value) {
    if (value.type == jbvNull)
        return {};
    switch (row.rule.kind) {
    case Kind::Flag:
        if (value.type != jbvBool)
            refuse_type(row, "true or false");
        return Value::other();
    case Kind::Integer:
        return integer_of(row, value);
    case Kind::Texts:
        if (!pg::is_jsonb_array(value) || !holds_strings(value))
            refuse_type(row, "an array of strings");
        return pg::jsonb_texts(value);
    default:
        if (value.type != jbvString && !is_json(row))
            refuse_type(row, "a string");
        return pg::jsonb_text(value);
    }
}

// Refuses params that lack an argument which this type of request needs.
void require_needed(const char *type, Jsonb *params) {
    for (const Parameter &row : core::job_arguments(type)) {
        JsonbValue found;
        if (row.rule.needed && getKeyJsonValueFromContainer(&params->root, row.name, static_cast<int>(strlen(row.name)),
                                                            &found) == nullptr)
            session::require(row.rule, row.shown(), {});
    }
}

// Refuses a model that no daemon knows while the call is queued, so that the caller hears of it: the worker can only
// write to the log.
void require_model(const char *type, Jsonb *params) {
    JsonbValue model, unsafe_mode;
    if (getKeyJsonValueFromContainer(&params->root, "model", 5, &model) == nullptr)
        return;
    const bool is_unsafe = getKeyJsonValueFromContainer(&params->root, "unsafe_mode", 11, &unsafe_mode) != nullptr &&
                           unsafe_mode.type == jbvBool && unsafe_mode.val.boolean;
    const core::TextArgument name = pg::jsonb_text(model);
    core::Problem problem;
    if (!core::check_remote(name, is_unsafe, problem))
        pg::raise(problem);
    if (shmem::segment_attached())
        (void)session::choose_model(strstr(type, "embed") != nullptr ? shmem::ModelRole::Embedding
                                                                     : shmem::ModelRole::Generation,
                                    name.or_else(""));
}

}  // namespace

STEADYTEXT_FUNCTION(steadytext_queue_check) {
    session::require_arguments("_steadytext.queue_check", fcinfo);
    const char *type = TextDatumGetCString(PG_GETARG_DATUM(0));
    Jsonb *params = PG_GETARG_JSONB_P(1);
    if (!JB_ROOT_IS_OBJECT(params)) {
        const Parameter &row = core::arguments_of("_steadytext.queue_check")[1];
        core::Problem problem;
        (void)core::refuse(row.rule, row.shown(), core::Fault::Malformed, 0, problem);
        pg::raise(problem);
    }
    pg::for_each_member(params, [&](std::string_view name, JsonbValue &value) {
        const Parameter *row = core::find_job_argument(type, name);
        if (row == nullptr)
            refuse_unknown(type, name);
        session::require(row->rule, row->shown(), value_of(*row, value));
    });
    require_needed(type, params);
    require_model(type, params);
    PG_RETURN_VOID();
}
