// Checks the params of an asynchronous call: they hold the arguments of the function that the call stands for, and each
// argument must meet its rule. See also job_check.hpp. Regime: pg, with C++ only inside guarded().
#include "src/pg/compat.hpp"
#include "src/functions/job_check.hpp"
#include "src/core/job_types.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/jsonb.hpp"
#include "src/session/answer_form.hpp"
#include "src/session/arguments.hpp"
#include "src/session/models.hpp"

#include <string>

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

bool find(Jsonb *params, const char *name, JsonbValue &value) {
    return getKeyJsonValueFromContainer(&params->root, name, static_cast<int>(strlen(name)), &value) != nullptr;
}

bool is_true(Jsonb *params, const char *name) {
    JsonbValue value;
    return find(params, name, value) && value.type == jbvBool && value.val.boolean;
}

// Refuses a model that no daemon knows while the call is queued, so that the caller hears of it: the worker can only
// write to the log.
void require_model(const char *type, Jsonb *params) {
    JsonbValue model;
    if (!find(params, "model", model))
        return;
    const bool is_unsafe = is_true(params, "unsafe_mode");
    const core::TextArgument name = pg::jsonb_text(model);
    core::Problem problem;
    if (!core::check_remote(name, is_unsafe, problem))
        pg::raise(problem);
    if (shmem::segment_attached())
        (void)session::choose_model(strstr(type, "embed") != nullptr ? shmem::ModelRole::Embedding
                                                                     : shmem::ModelRole::Generation,
                                    name.or_else(""));
}

// As the worker reads it (src/queue/job_row.cpp).
session::AnswerForm form_of(const char *type, Jsonb *params) {
    using session::AnswerForm;
    AnswerForm form;
    JsonbValue value;
    if (strcmp(type, "generate_json") == 0) {
        form.kind = AnswerForm::Kind::Json;
        form.is_null = !find(params, "schema", value) || value.type == jbvNull;
        if (form.is_null)
            return form;
        form.order = value.type == jbvString ? AnswerForm::Order::Written : AnswerForm::Order::Required;
        form.text = pg::jsonb_text(value).text;
    } else if (strcmp(type, "generate_regex") == 0) {
        form.kind = AnswerForm::Kind::Regex;
        const core::TextArgument pattern =
            find(params, "pattern", value) ? pg::jsonb_text(value) : core::TextArgument();
        form.is_null = pattern.is_null;
        form.text = pattern.text;
    } else if (strcmp(type, "generate_choice") == 0) {
        form.kind = AnswerForm::Kind::Choice;
        form.is_null = !find(params, "choices", value) || !pg::is_jsonb_array(value);
        if (!form.is_null)
            form.choices = pg::jsonb_texts(value);
    }
    return form;
}

// Many calls in a row have the same form: the last one that could be used is not compiled again.
void require_form(const session::CheckedForm &form) {
    static session::AnswerForm::Kind last_kind = session::AnswerForm::Kind::Free;
    static std::string *last = new std::string;
    if (!form.text.empty() && form.kind == last_kind && form.text == *last)
        return;
    session::require_usable(form);
    constexpr std::size_t kMaxKept = 64 * 1024;
    last_kind = session::AnswerForm::Kind::Free;
    if (form.text.empty() || form.text.size() > kMaxKept)
        return;
    pg::guarded([&] { last->assign(form.text); });
    last_kind = form.kind;
}

}  // namespace

void steadytext::functions::require_possible(const char *request_type, Jsonb *params) {
    if (!JB_ROOT_IS_OBJECT(params))
        return;
    if (strstr(request_type, "generate") != nullptr && is_true(params, "unsafe_mode")) {
        JsonbValue model;
        core::Problem problem;
        problem.set(core::sqlstate::kInvalidParameterValue, "unsafe_mode=TRUE requires a model parameter");
        if (!find(params, "model", model) || model.type == jbvNull)
            pg::raise(problem);
    }
    const session::AnswerForm form = form_of(request_type, params);
    if (form.kind != session::AnswerForm::Kind::Free)
        require_form(session::check_form(form));
}

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
