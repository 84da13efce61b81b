// The statements: see queue_sql.hpp. Regime: pg.
//
// Plans are kept. They go by indexes whatever statistics say (worker_main.cpp sees to that): the table is empty at one time and
// long at another.
#include "src/pg/compat.hpp"
#include "src/queue/queue_sql.hpp"
#include "bgworker/batch_columns.hpp"
#include "src/core/clock.hpp"
#include "src/guc.hpp"
#include "src/pg/table_rows.hpp"
#include "src/pg/text_array.hpp"
#include "src/pg/vector.hpp"
#include "src/queue/callback.hpp"

extern "C" {
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
}

#include <algorithm>
#include <iterator>

namespace steadytext::queue {

using worker::ArrayColumn;

namespace {

constexpr int kLeaseSeconds = 30;
constexpr int kMostLosses = 5;  // workers that may die with a job before it is given up

constexpr const char *kClaim = R"(
    WITH next AS (
        SELECT id FROM public.steadytext_queue
        WHERE status = 'pending' AND run_at <= clock_timestamp() AND user_id <> ALL ($2)
        ORDER BY rank DESC, id LIMIT $1 FOR UPDATE SKIP LOCKED)
    UPDATE public.steadytext_queue q
    SET status = 'processing', started_at = clock_timestamp(), worker_pid = $3,
        lease_until = clock_timestamp() + $4 * interval '1 second'
    FROM next WHERE q.id = next.id
    RETURNING q.id, q.request_id, q.request_type, q.user_id, q.rank, q.retry_count, q.max_retries, q.callback IS NOT NULL,
        coalesce(q.prompt, params ->> 'prompt', params ->> 'text_input', params ->> 'query'), q.prompts,
        params ->> 'max_tokens', params ->> 'seed', params ->> 'eos_string', params ->> 'model', params ->> 'size', params ->> 'task',
        CASE WHEN jsonb_typeof(params -> 'documents') = 'array' THEN ARRAY(SELECT jsonb_array_elements_text(params -> 'documents')) END,
        params ->> 'use_cache', params ->> 'unsafe_mode', params ->> 'return_scores', (params -> 'schema')::text, params ->> 'pattern',
        CASE WHEN jsonb_typeof(params -> 'choices') = 'array' THEN ARRAY(SELECT jsonb_array_elements_text(params -> 'choices')) END)";

constexpr const char *kRecord = R"(
    WITH done AS (
        UPDATE public.steadytext_queue q
        SET status = d.status, result = d.result, embedding = d.embedding, error = d.error, retry_count = d.retries,
            processing_time_ms = d.took_ms, daemon_endpoint = coalesce(d.daemon, q.daemon_endpoint),
            completed_at = CASE WHEN d.status <> 'pending' THEN clock_timestamp() END,
            run_at = CASE WHEN d.status = 'pending' THEN clock_timestamp() + d.delay_ms * interval '1 millisecond' ELSE q.run_at END,
            worker_pid = NULL, lease_until = NULL
        FROM unnest($2, $3, $4, $5, $6, $7, $8, $9, $10) AS d (id, status, result, embedding, error, retries, took_ms, daemon, delay_ms)
        WHERE q.id = d.id AND q.status = 'processing' AND q.worker_pid = $1
        RETURNING q.id, q.request_id, q.status, q.callback, q.user_id)
    SELECT id, request_id, callback, user_id,
           pg_notify('steadytext_queue_done', json_build_object('request_id', request_id, 'status', status)::text)
    FROM done WHERE status <> 'pending')";

constexpr const char *kRecordTexts = R"(
    UPDATE public.steadytext_queue SET results = $3 WHERE id = $1 AND status = 'processing' AND worker_pid = $2)";
constexpr const char *kRecordVectors = R"(
    UPDATE public.steadytext_queue SET embeddings = $3 WHERE id = $1 AND status = 'processing' AND worker_pid = $2)";

constexpr const char *kRenew = R"(
    UPDATE public.steadytext_queue SET lease_until = clock_timestamp() + $2 * interval '1 second'
    WHERE status = 'processing' AND worker_pid = $1)";

constexpr const char *kIsOurs = R"(
    SELECT FROM public.steadytext_queue WHERE id = $1 AND status = 'processing' AND worker_pid = $2)";

constexpr const char *kRecover = R"(
    UPDATE public.steadytext_queue
    SET status = CASE WHEN lost_count < $3 THEN 'pending' ELSE 'failed' END, lost_count = lost_count + 1, worker_pid = NULL, lease_until = NULL,
        error = CASE WHEN lost_count < $3 THEN error ELSE 'its worker died again and again' END,
        completed_at = CASE WHEN lost_count < $3 THEN NULL ELSE clock_timestamp() END
    WHERE status = 'processing' AND worker_pid IS DISTINCT FROM $1 AND ($2 OR lease_until < clock_timestamp()))";

constexpr const char *kDeleteOld = R"(
    DELETE FROM public.steadytext_queue WHERE id IN (
        SELECT id FROM public.steadytext_queue
        WHERE completed_at < clock_timestamp() - $1 * interval '1 second' AND status IN ('completed', 'failed', 'cancelled')
        ORDER BY completed_at LIMIT 1000 FOR UPDATE SKIP LOCKED))";

constexpr const char *kNextDue = R"(
    SELECT ceil(extract(epoch FROM min(run_at) - clock_timestamp()) * 1000)::bigint FROM public.steadytext_queue
    WHERE status = 'pending' AND user_id <> ALL ($1))";

constexpr const char *kGiveBack = R"(
    UPDATE public.steadytext_queue SET status = 'pending', worker_pid = NULL, lease_until = NULL
    WHERE status = 'processing' AND worker_pid = $1)";

constexpr const char *kMeasure = R"(
    SELECT count(*), min(created_at) FILTER (WHERE status = 'pending')
    FROM public.steadytext_queue WHERE status IN ('pending', 'processing'))";

// A statement whose plan is kept.
struct Statement {
    const char *text;
    int expected;
    SPIPlanPtr plan = nullptr;

    template <std::size_t Count>
    void execute(const Oid (&types)[Count], const Datum (&values)[Count]) {
        run(static_cast<int>(Count), types, values);
    }
    void execute() { run(0, nullptr, nullptr); }

private:
    void run(int count, const Oid *types, const Datum *values) {
        if (plan == nullptr) {
            SPIPlanPtr prepared = SPI_prepare(text, count, const_cast<Oid *>(types));
            if (prepared == nullptr || SPI_keepplan(prepared) != 0)
                elog(ERROR, "could not prepare the queue worker's statement");
            plan = prepared;
        }
        if (SPI_execute_plan(plan, const_cast<Datum *>(values), nullptr, false, 0) != expected)
            elog(ERROR, "the queue worker's statement failed");
    }
};

// ---- claiming ----------------------------------------------------------------------------------------------------------

// The columns of a row, read in their order.
class Columns {
public:
    explicit Columns(HeapTuple tuple) : tuple_(tuple) {}
    Datum next(bool &is_null) { return SPI_getbinval(tuple_, SPI_tuptable->tupdesc, ++column_, &is_null); }
    Datum next() {
        bool is_null;
        return next(is_null);
    }
    core::TextArgument text() {
        core::TextArgument argument;
        const Datum value = next(argument.is_null);
        if (!argument.is_null)
            argument.text = pg::copy_text(pg::utf8_text(value));
        return argument;
    }
    bool truth(bool standard) {
        const core::TextArgument argument = text();
        return argument.is_null ? standard : argument.text == "true";
    }
    std::span<const core::TextArgument> texts(bool &is_null) {
        const Datum value = next(is_null);
        if (is_null)
            return {};
        return pg::texts_of(DatumGetArrayTypePCopy(value));
    }

private:
    HeapTuple tuple_;
    int column_ = 0;
};

struct KindName {
    const char *name;
    JobKind kind;
    bool is_batch;
    session::AnswerForm::Kind form;
};
using Form = session::AnswerForm::Kind;
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

JobRow read_row(HeapTuple tuple) {
    Columns columns(tuple);
    JobRow row;
    bool is_null;
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
    row.texts = columns.texts(is_null);
    row.max_tokens = columns.text();
    row.seed = columns.text();
    row.eos_string = columns.text();
    row.model = columns.text();
    row.size = columns.text();
    row.task = columns.text();
    row.documents = columns.texts(row.documents_are_null);
    row.use_cache = columns.truth(true);
    row.unsafe_mode = columns.truth(false);
    row.return_scores = columns.truth(true);
    const core::TextArgument schema = columns.text(), pattern = columns.text();
    const core::TextArgument &form = row.form.kind == Form::Json ? schema : pattern;
    row.form.choices = columns.texts(is_null);
    row.form.is_null = row.form.kind == Form::Choice ? is_null : form.is_null;
    row.form.text = form.is_null ? std::string_view() : form.text;
    return row;
}

// In the order of their urgency; the statement returns them in any.
void insert_by_rank(JobList &jobs, Job *job) {
    Job *place = jobs.last;
    while (place != nullptr && (place->row.rank < job->row.rank || (place->row.rank == job->row.rank && place->row.id > job->row.id)))
        place = place->previous;
    jobs.insert_after(place, job);
}

Datum held_back_names(const HeldBack &held_back) {
    ArrayColumn names;
    names.begin(TEXTOID, HeldBack::kMost);
    const std::int64_t now_us = core::monotonic_us();
    for (int i = 0; i < HeldBack::kMost; i++)
        if (held_back.until_us[i] > now_us)
            names.add(CStringGetTextDatum(NameStr(held_back.names[i])));
    return names.array();
}

// ---- recording ---------------------------------------------------------------------------------------------------------

// Doubles with each attempt, from a second to five minutes, and differs by up to a quarter, so that not all come at once.
std::int32_t back_off_ms(int attempts) {
    constexpr double kFirstMs = 1000, kLongestMs = 300'000;
    const double ms = std::min(kFirstMs * static_cast<double>(1 << std::min(attempts, 20)), kLongestMs);
    return static_cast<std::int32_t>(ms * (0.75 + 0.5 * pg::random_fraction()));
}

constexpr std::int32_t kPostponedMs = 250;

Oid vector_type() {
    const Oid table = pg::public_table("steadytext_queue");
    return get_atttype(table, get_attnum(table, "embedding"));
}

Datum vector_of(std::string_view bytes) {
    auto *values = static_cast<float *>(palloc(bytes.size()));  // aligned, which the answer's bytes need not be
    memcpy(values, bytes.data(), bytes.size());
    return pg::vector_datum({values, bytes.size() / sizeof(float)});
}

// The columns that kRecord takes, row by row.
class Records {
public:
    explicit Records(int capacity) {
        const Oid types[kColumns] = {INT8OID, TEXTOID, TEXTOID, vector_type(), TEXTOID, INT4OID, INT4OID, TEXTOID, INT4OID};
        for (std::size_t i = 0; i < kColumns; i++)
            columns_[i].begin(types[i], capacity);
    }

    void add(const Job &job) {
        const bool retries = job.outcome == Outcome::Postponed ||
                             (job.outcome == Outcome::Retry && job.row.retry_count < job.row.max_retries);
        const bool done = job.outcome == Outcome::Done, alone = done && !job.row.is_batch;
        const bool counts = job.outcome == Outcome::Retry && retries;
        ArrayColumn *column = columns_;
        column++->add(Int64GetDatum(job.row.id));
        column++->add(CStringGetTextDatum(done ? "completed" : retries ? "pending" : "failed"));
        const bool has_text = alone && job.row.kind != JobKind::Embed && !job.parts[0].is_null;
        has_text ? column++->add(pg::text_datum(job.parts[0].bytes)) : column++->add_null();
        const bool has_vector = alone && job.row.kind == JobKind::Embed && !job.parts[0].is_null;
        has_vector ? column++->add(vector_of(job.parts[0].bytes)) : column++->add_null();
        done ? column++->add_null() : column++->add(pg::text_datum(job.problem.message));
        column++->add(Int32GetDatum(job.row.retry_count + counts));
        column++->add(Int32GetDatum(static_cast<std::int32_t>(std::min<std::int64_t>(job.took_us / 1000, INT32_MAX))));
        column++->add_text(job.daemon);
        column++->add(Int32GetDatum(counts ? back_off_ms(job.row.retry_count) : kPostponedMs));
    }

    void write() {
        static Statement statement{kRecord, SPI_OK_SELECT};
        Oid types[kColumns + 1] = {INT4OID};
        Datum values[kColumns + 1] = {Int32GetDatum(MyProcPid)};
        for (std::size_t i = 0; i < kColumns; i++) {
            types[i + 1] = columns_[i].array_type();
            values[i + 1] = columns_[i].array();
        }
        statement.execute(types, values);
    }

private:
    static constexpr std::size_t kColumns = 9;
    ArrayColumn columns_[kColumns];
};

// The answers of a batch, in the order asked.
void record_batch(const Job &job) {
    static Statement texts{kRecordTexts, SPI_OK_UPDATE}, vectors{kRecordVectors, SPI_OK_UPDATE};
    const bool embeds = job.row.kind == JobKind::Embed;
    ArrayColumn answers;
    answers.begin(embeds ? vector_type() : TEXTOID, static_cast<int>(std::max(job.part_count, 1U)));
    for (std::uint32_t i = 0; i < job.part_count; i++) {
        const Part &part = job.parts[i];
        part.is_null ? answers.add_null() : answers.add(embeds ? vector_of(part.bytes) : pg::text_datum(part.bytes));
    }
    const Oid types[] = {INT8OID, INT4OID, answers.array_type()};
    const Datum values[] = {Int64GetDatum(job.row.id), Int32GetDatum(MyProcPid), answers.array()};
    (embeds ? vectors : texts).execute(types, values);
}

}  // namespace

bool has_queue() { return OidIsValid(pg::public_table("steadytext_queue")); }

std::uint32_t claim(std::uint32_t most, const HeldBack &held_back, MemoryContext parent, JobList &jobs) {
    static Statement statement{kClaim, SPI_OK_UPDATE_RETURNING};
    const Oid types[] = {INT8OID, TEXTARRAYOID, INT4OID, INT4OID};
    const Datum values[] = {Int64GetDatum(most), held_back_names(held_back), Int32GetDatum(MyProcPid), Int32GetDatum(kLeaseSeconds)};
    statement.execute(types, values);
    const auto count = static_cast<std::uint32_t>(SPI_processed);
    for (std::uint32_t i = 0; i < count; i++) {
        MemoryContext caller =
            MemoryContextSwitchTo(AllocSetContextCreate(parent, "steadytext job", ALLOCSET_SMALL_SIZES));
        insert_by_rank(jobs, make_job(read_row(SPI_tuptable->vals[i])));
        MemoryContextSwitchTo(caller);
    }
    SPI_freetuptable(SPI_tuptable);
    return count;
}

std::int64_t next_due_ms(const HeldBack &held_back) {
    static Statement statement{kNextDue, SPI_OK_SELECT};
    const Oid types[] = {TEXTARRAYOID};
    const Datum values[] = {held_back_names(held_back)};
    statement.execute(types, values);
    bool is_null;
    const Datum ms = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null);
    return is_null ? -1 : std::max<std::int64_t>(DatumGetInt64(ms), 0);
}

void record(const JobList &jobs, void (*ended)(const pg_uuid_t &request)) {
    Records records(static_cast<int>(jobs.count));
    for (const Job *job = jobs.first; job != nullptr; job = job->next) {
        if (job->row.is_batch && job->outcome == Outcome::Done)
            record_batch(*job);
        records.add(*job);
    }
    records.write();
    SPITupleTable *rows = SPI_tuptable;
    const std::uint64_t ended_count = SPI_processed;
    for (std::uint64_t i = 0; i < ended_count; i++) {
        Columns columns(rows->vals[i]);
        SPI_tuptable = rows;
        const std::int64_t id = DatumGetInt64(columns.next());
        const pg_uuid_t request = *DatumGetUUIDP(columns.next());
        const core::TextArgument callback = columns.text(), user = columns.text();
        ended(request);
        if (!callback.is_null)
            run_callback(id, request, callback.text.data(), user.text.data());
    }
}

void renew_leases() {
    static Statement statement{kRenew, SPI_OK_UPDATE};
    const Oid types[] = {INT4OID, INT4OID};
    const Datum values[] = {Int32GetDatum(MyProcPid), Int32GetDatum(kLeaseSeconds)};
    statement.execute(types, values);
}

bool is_still_ours(std::int64_t id) {
    static Statement statement{kIsOurs, SPI_OK_SELECT};
    const Oid types[] = {INT8OID, INT4OID};
    const Datum values[] = {Int64GetDatum(id), Int32GetDatum(MyProcPid)};
    statement.execute(types, values);
    return SPI_processed > 0;
}

void give_back() {
    static Statement statement{kGiveBack, SPI_OK_UPDATE};
    const Oid types[] = {INT4OID};
    const Datum values[] = {Int32GetDatum(MyProcPid)};
    statement.execute(types, values);
}

std::uint64_t recover(bool all) {
    static Statement statement{kRecover, SPI_OK_UPDATE};
    const Oid types[] = {INT4OID, BOOLOID, INT4OID};
    const Datum values[] = {Int32GetDatum(MyProcPid), BoolGetDatum(all), Int32GetDatum(kMostLosses)};
    statement.execute(types, values);
    return SPI_processed;
}

std::uint64_t delete_old() {
    if (guc::queue_retention_s == 0)
        return 0;
    static Statement statement{kDeleteOld, SPI_OK_DELETE};
    const Oid types[] = {INT4OID};
    const Datum values[] = {Int32GetDatum(guc::queue_retention_s)};
    statement.execute(types, values);
    return SPI_processed;
}

Measured measure() {
    static Statement statement{kMeasure, SPI_OK_SELECT};
    statement.execute();
    Measured measured{};
    bool is_null;
    measured.length = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null));
    const Datum oldest = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &is_null);
    measured.oldest_us = is_null ? 0 : pg::unix_us_of(DatumGetTimestampTz(oldest));
    return measured;
}

}  // namespace steadytext::queue
