// The row's columns, and its params as what they are called: see job_row.hpp. Regime: pg.
//
// Params were checked when the row was added (src/functions/job_check.cpp), unless it was added by hand: what cannot be used then is told
// by whoever carries the job out.
#include "src/pg/compat.hpp"
#include "src/queue/job_row.hpp"
#include "src/pg/jsonb.hpp"
#include "src/pg/text_array.hpp"

extern "C" {
#include "utils/acl.h"
}

namespace steadytext::queue {

namespace {

using Form = session::AnswerForm::Kind;

struct KindName {
    const char *name;
    JobKind kind;
    bool is_batch;
    Form form;
};
constexpr KindName kKinds[] = {{"generate", JobKind::Generate, false, Form::Free},
                               {"generate_json", JobKind::Generate, false, Form::Json},
                               {"generate_regex", JobKind::Generate, false, Form::Regex},
                               {"generate_choice", JobKind::Generate, false, Form::Choice},
                               {"batch_generate", JobKind::Generate, true, Form::Free},
                               {"embed", JobKind::Embed, false, Form::Free},
                               {"batch_embed", JobKind::Embed, true, Form::Free},
                               {"rerank", JobKind::Rerank, false, Form::Free},
                               {"batch_rerank", JobKind::Rerank, false, Form::Free}};

void set_kind(JobRow &row, std::string_view name) {
    for (const KindName &kind : kKinds)
        if (name == kind.name) {
            row.kind = kind.kind;
            row.is_batch = kind.is_batch;
            row.form.kind = kind.form;
            return;
        }
    elog(ERROR, "unknown type of request in steadytext_queue");
}

// ---- params ------------------------------------------------------------------------------------------------------------

struct Param {
    const char *name;
    void (*set)(JobRow &row, JsonbValue &value);
};

template <core::TextArgument JobRow::*member>
void set_text(JobRow &row, JsonbValue &value) {
    row.*member = pg::jsonb_text(value);
}

template <bool JobRow::*member>
void set_flag(JobRow &row, JsonbValue &value) {
    if (value.type == jbvBool)
        row.*member = value.val.boolean;
}

// The row's own column comes first.
void set_subject(JobRow &row, JsonbValue &value) {
    if (row.text.is_null)
        row.text = pg::jsonb_text(value);
}

void set_documents(JobRow &row, JsonbValue &value) {
    row.documents_are_null = !pg::is_jsonb_array(value);
    if (!row.documents_are_null)
        row.documents = pg::jsonb_texts(value);
}

void set_choices(JobRow &row, JsonbValue &value) {
    row.form.is_null = !pg::is_jsonb_array(value);
    if (!row.form.is_null)
        row.form.choices = pg::jsonb_texts(value);
}

void set_pattern(JobRow &row, JsonbValue &value) {
    const core::TextArgument pattern = pg::jsonb_text(value);
    row.form.is_null = pattern.is_null;
    row.form.text = pattern.text;
}

void set_schema(JobRow &row, JsonbValue &value) {
    row.form.is_null = value.type == jbvNull;
    row.form.text = pg::json_text(JsonbValueToJsonb(&value));
}

constexpr Param kParams[] = {
    {"prompt", set_subject},
    {"text_input", set_subject},
    {"query", set_subject},
    {"documents", set_documents},
    {"schema", set_schema},
    {"pattern", set_pattern},
    {"choices", set_choices},
    {"max_tokens", set_text<&JobRow::max_tokens>},
    {"seed", set_text<&JobRow::seed>},
    {"eos_string", set_text<&JobRow::eos_string>},
    {"model", set_text<&JobRow::model>},
    {"model_repo", set_text<&JobRow::model_repo>},
    {"model_filename", set_text<&JobRow::model_filename>},
    {"size", set_text<&JobRow::size>},
    {"task", set_text<&JobRow::task>},
    {"use_cache", set_flag<&JobRow::use_cache>},
    {"unsafe_mode", set_flag<&JobRow::unsafe_mode>},
    {"return_scores", set_flag<&JobRow::return_scores>},
};

void read_params(JobRow &row, Jsonb *params) {
    row.form.is_null = true;
    if (params == nullptr || !JB_ROOT_IS_OBJECT(params))
        return;
    pg::for_each_member(params, [&](std::string_view name, JsonbValue &value) {
        for (const Param &param : kParams)
            if (name == param.name)
                param.set(row, value);
    });
}

}  // namespace

JobRow read_row(SPITupleTable *rows, std::uint64_t number) {
    Columns columns(rows, number);
    JobRow row;
    row.id = DatumGetInt64(columns.next());
    row.request_id = *DatumGetUUIDP(columns.next());
    set_kind(row, columns.text().text);
    row.user_name = columns.text().text;
    row.user = get_role_oid(row.user_name.data(), true);
    row.rank = DatumGetFloat8(columns.next());
    row.retry_count = DatumGetInt32(columns.next());
    row.max_retries = DatumGetInt32(columns.next());
    row.has_callback = DatumGetBool(columns.next());
    row.text = columns.text();
    bool is_null;
    if (const Datum texts = columns.next(is_null); !is_null)
        row.texts = pg::texts_of(DatumGetArrayTypePCopy(texts));
    const Datum params = columns.next(is_null);
    read_params(row, is_null ? nullptr : DatumGetJsonbP(params));
    return row;
}

}  // namespace steadytext::queue
