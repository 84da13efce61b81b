// Reads the row's columns, and its params by name: see job_row.hpp. Regime: pg.
//
// Params were checked when the row was added (src/functions/job_check.cpp), unless the row was added by hand: then the
// worker reports bad params when it carries the job out.
#include "src/pg/compat.hpp"
#include "src/queue/job_row.hpp"
#include "src/core/job_types.hpp"
#include "src/pg/jsonb.hpp"
#include "src/pg/kept_statement.hpp"

extern "C" {
#include "access/detoast.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/datum.h"
#include "utils/memutils.h"
}

#include <algorithm>

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

// A CHECK of the table allows no other names.
void set_kind(JobRow &row, std::string_view name) {
    for (const KindName &kind : kKinds)
        if (name == kind.name) {
            row.kind = kind.kind;
            row.is_batch = kind.is_batch;
            row.form.kind = kind.form;
            return;
        }
}

// ---- params ---------------------------------------------------------------------------------------------------------

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

// The row's own column takes precedence over params.
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
    row.form.order =
        value.type == jbvString ? session::AnswerForm::Order::Written : session::AnswerForm::Order::Required;
    row.form.text = value.type == jbvString ? pg::jsonb_text(value).text : pg::json_text(JsonbValueToJsonb(&value));
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
    if (params == nullptr)
        return;
    if (!JB_ROOT_IS_OBJECT(params))
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("params must be a JSON object")));
    pg::for_each_member(params, [&](std::string_view name, JsonbValue &value) {
        for (const Param &param : kParams)
            if (name == param.name)
                param.set(row, value);
    });
}

// ---- the payload: prompt, prompts, params ---------------------------------------------------------------------------

constexpr std::size_t kTakenAtOnce = 8 * 1024;  // rows up to this size are copied whole with the claim

std::int64_t raw_bytes(Datum value, bool is_there) {
    return is_there ? static_cast<std::int64_t>(toast_raw_datum_size(value)) : 0;
}

void keep(Datum &value, bool is_there) {
    if (is_there)
        value = datumCopy(value, false, -1);
}

// prompt, prompts, params: the last columns of both statements.
Payload read_payload(Columns &columns) {
    Payload payload;
    bool is_null;
    payload.prompt = columns.next(is_null);
    payload.has_prompt = !is_null;
    payload.prompts = columns.next(is_null);
    payload.has_prompts = !is_null;
    payload.params = columns.next(is_null);
    payload.has_params = !is_null;
    return payload;
}

// The three columns; in CurrentMemoryContext if the job has no copies.
Payload payload_of(const Job &job) {
    static pg::KeptStatement statement{
        "steadytext_queue", "SELECT prompt, prompts, params FROM public.steadytext_queue WHERE id = $1", SPI_OK_SELECT};
    if (job.payload.is_here)
        return job.payload;
    statement.execute({job.row.id});
    if (SPI_processed == 0)
        ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND), errmsg("the request is no longer in steadytext_queue")));
    Columns columns(SPI_tuptable, 0);
    return read_payload(columns);
}

// Runs `take` with the columns; memory allocated meanwhile in CurrentMemoryContext is freed afterwards.
template <class Take>
void with_payload(Job &job, Take take) {
    MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "steadytext request", ALLOCSET_DEFAULT_SIZES);
    MemoryContext caller = MemoryContextSwitchTo(scratch);
    const Payload payload = payload_of(job);
    SPITupleTable *rows = job.payload.is_here ? nullptr : SPI_tuptable;
    take(payload);
    MemoryContextSwitchTo(caller);
    if (rows != nullptr)
        SPI_freetuptable(rows);
    MemoryContextDelete(scratch);
}

void count_parts(Job &job, const Payload &payload) {
    job.part_count = 0;
    if (!payload.has_prompts)
        ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("a batch needs prompts")));
    ArrayType *array = DatumGetArrayTypeP(payload.prompts);
    const int count = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
    if (count > core::kMaxParts)
        ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                        errmsg("a batch may have at most %d parts", core::kMaxParts)));
    job.part_count = static_cast<std::uint32_t>(count);
}

// How many bytes of texts are read ahead: each reading unpacks the whole column, so a large column is read in larger
// steps.
std::size_t most_ahead(const Job &job) {
    constexpr std::int64_t kLeast = 256 * 1024, kMost = 4 * 1024 * 1024;
    return static_cast<std::size_t>(std::clamp(job.row.bytes / 32, kLeast, kMost));
}

}  // namespace

Job *read_row(SPITupleTable *rows, std::uint64_t number) {
    Columns columns(rows, number);
    JobRow row;
    row.id = DatumGetInt64(columns.next());
    row.request_id = *DatumGetUUIDP(columns.next());
    set_kind(row, columns.text().text);
    bool is_null;
    row.user = DatumGetObjectId(columns.next());
    const Datum login = columns.next(is_null);
    row.session_user = is_null ? row.user : DatumGetObjectId(login);
    row.rank = DatumGetFloat8(columns.next());
    row.retry_count = DatumGetInt32(columns.next());
    row.max_retries = DatumGetInt32(columns.next());
    row.age_us = DatumGetInt64(columns.next()) * 1000;
    Payload payload = read_payload(columns);
    row.bytes = raw_bytes(payload.prompt, payload.has_prompt) + raw_bytes(payload.prompts, payload.has_prompts) +
                raw_bytes(payload.params, payload.has_params);
    Job *job = make_job(row);
    if (row.bytes > static_cast<std::int64_t>(kTakenAtOnce))
        return job;
    keep(payload.prompt, payload.has_prompt);
    keep(payload.prompts, payload.has_prompts);
    keep(payload.params, payload.has_params);
    payload.is_here = true;
    job->payload = payload;
    return job;
}

void read_payload(Job &job) {
    with_payload(job, [&](const Payload &payload) {
        if (job.row.is_batch)
            count_parts(job, payload);
        Jsonb *params = payload.has_params ? DatumGetJsonbP(payload.params) : nullptr;
        MemoryContext caller = MemoryContextSwitchTo(job.memory);
        if (payload.has_prompt)
            job.row.text = {false, pg::copy_text(pg::utf8_text(payload.prompt))};
        read_params(job.row, params);
        MemoryContextSwitchTo(caller);
    });
    job.payload.is_read = true;
}

void read_texts(Job &job, std::uint32_t from) {
    if (job.texts_memory == nullptr)
        job.texts_memory = AllocSetContextCreate(job.memory, "steadytext texts", ALLOCSET_DEFAULT_SIZES);
    MemoryContextReset(job.texts_memory);
    with_payload(job, [&](const Payload &payload) {
        std::uint32_t number = 0, room = 256, count = 0;
        std::size_t bytes = 0;
        auto *texts =
            static_cast<core::TextArgument *>(MemoryContextAlloc(job.texts_memory, room * sizeof(core::TextArgument)));
        ArrayIterator iterator = array_create_iterator(DatumGetArrayTypeP(payload.prompts), 0, nullptr);
        Datum value;
        bool is_null;
        while (bytes < most_ahead(job) && array_iterate(iterator, &value, &is_null)) {
            if (number++ < from)
                continue;
            if (count == room)
                texts = static_cast<core::TextArgument *>(repalloc(texts, (room *= 2) * sizeof(core::TextArgument)));
            MemoryContext caller = MemoryContextSwitchTo(job.texts_memory);
            texts[count] = {is_null, is_null ? std::string_view() : pg::copy_text(pg::utf8_text(value))};
            MemoryContextSwitchTo(caller);
            bytes += sizeof(core::TextArgument) + texts[count++].text.size();
        }
        array_free_iterator(iterator);
        if (count == 0)
            ereport(ERROR,
                    (errcode(ERRCODE_NO_DATA_FOUND), errmsg("the request has changed while it was carried out")));
        job.texts = {texts, count};
        job.texts_from = from;
    });
}

}  // namespace steadytext::queue
