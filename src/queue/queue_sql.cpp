// The statements: see queue_sql.hpp. Regime: pg.
//
// Plans are kept. They always use indexes, whatever the statistics say (worker_main.cpp sets this), as the table is
// sometimes empty and sometimes long.
#include "src/pg/compat.hpp"
#include "src/queue/queue_sql.hpp"
#include "bgworker/batch_columns.hpp"
#include "shmem/segment.hpp"
#include "src/core/clock.hpp"
#include "src/guc.hpp"
#include "src/pg/kept_statement.hpp"
#include "src/pg/own_table.hpp"
#include "src/pg/vector.hpp"
#include "src/queue/callbacks.hpp"
#include "src/queue/job_row.hpp"
#include "src/session/notify.hpp"

extern "C" {
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
}

#include <algorithm>
#include <iterator>

namespace steadytext::queue {

using worker::ArrayColumn;

namespace {

constexpr int kLeaseSeconds = 30;
constexpr int kMaxLosses = 5;  // workers that may die with a job in hand before it is given up
constexpr int kMaxKills = 2;   // workers that may die while at work on this very job

// Jumps in the index from role to role, and takes the first rows of each: of every role that a login has acted as, and
// then as many of the login's as it has a share for. A role whose rows are all held back or taken only costs the look
// at them.
constexpr const char *kClaim = R"(
    WITH RECURSIVE role (login, oid) AS (
        (SELECT session_user_oid, user_oid FROM public.steadytext_queue WHERE completed_at IS NULL
         ORDER BY session_user_oid, user_oid LIMIT 1)
        UNION ALL
        SELECT another.* FROM role, LATERAL (
            SELECT q.session_user_oid, q.user_oid FROM public.steadytext_queue q
            WHERE q.completed_at IS NULL AND (q.session_user_oid, q.user_oid) > (role.login, role.oid)
            ORDER BY q.session_user_oid, q.user_oid LIMIT 1) another),
    first AS (
        SELECT role.login, pending.* FROM role, LATERAL (
            SELECT q.id, q.rank FROM public.steadytext_queue q
            WHERE q.session_user_oid = role.login AND q.user_oid = role.oid AND q.completed_at IS NULL AND q.status = 'pending'
              AND q.run_at <= clock_timestamp() AND q.priority >= $5
            ORDER BY q.rank DESC, q.id LIMIT $1 FOR UPDATE SKIP LOCKED) pending
        WHERE role.oid <> ALL ($2) AND role.login <> ALL ($8) AND pending.id <> $7),
    next AS (
        SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY login ORDER BY rank DESC, id) AS turn FROM first) share
        WHERE turn <= $1 LIMIT $6)
    UPDATE public.steadytext_queue q
    SET status = 'processing', started_at = clock_timestamp(), worker_pid = $3,
        lease_until = clock_timestamp() + $4 * interval '1 second'
    FROM next WHERE q.id = next.id
    RETURNING q.id, q.request_id, q.request_type, q.user_oid, q.session_user_oid, q.rank, q.retry_count, q.max_retries,
        CASE WHEN isfinite(q.created_at) THEN (extract(epoch FROM clock_timestamp() - q.created_at) * 1000)::bigint ELSE 0 END,
        q.prompt, q.prompts, q.params)";

constexpr const char *kEnd = R"(
    UPDATE public.steadytext_queue q
    SET status = d.status, result = d.result, embedding = d.embedding, error = d.error, processing_time_ms = d.took_ms,
        daemon_endpoint = coalesce(d.daemon, q.daemon_endpoint), completed_at = clock_timestamp(), worker_pid = NULL, lease_until = NULL,
        callback_state = CASE WHEN q.callback IS NOT NULL AND q.user_oid IS NOT NULL THEN 'due' END, callback_tries = 0
    FROM unnest($2, $3, $4, $5, $6, $7, $8) AS d (id, status, result, embedding, error, took_ms, daemon)
    WHERE q.id = d.id AND q.status = 'processing' AND q.worker_pid = $1
    RETURNING q.request_id, q.callback_state IS NOT NULL, q.session_user_oid)";

constexpr const char *kPutOff = R"(
    UPDATE public.steadytext_queue q
    SET status = 'pending', retry_count = d.retries, processing_time_ms = d.took_ms,
        error = d.error || CASE WHEN d.is_limited
            THEN to_char((clock_timestamp() + d.delay_ms * interval '1 millisecond') AT TIME ZONE 'UTC', '" It is tried again at "YYYY-MM-DD HH24:MI:SS" UTC."') ELSE '' END,
        run_at = clock_timestamp() + d.delay_ms * interval '1 millisecond', worker_pid = NULL, lease_until = NULL
    FROM unnest($2, $3, $4, $5, $6, $7) AS d (id, error, retries, took_ms, delay_ms, is_limited)
    WHERE q.id = d.id AND q.status = 'processing' AND q.worker_pid = $1)";

constexpr const char *kRecordTexts = R"(
    UPDATE public.steadytext_queue SET results = $3 WHERE id = $1 AND status = 'processing' AND worker_pid = $2)";
constexpr const char *kRecordVectors = R"(
    UPDATE public.steadytext_queue SET embeddings = $3 WHERE id = $1 AND status = 'processing' AND worker_pid = $2)";

constexpr const char *kLock = R"(
    SELECT id FROM public.steadytext_queue WHERE id = ANY ($1) ORDER BY id FOR UPDATE SKIP LOCKED)";

constexpr const char *kRenew = R"(
    UPDATE public.steadytext_queue SET lease_until = clock_timestamp() + $3 * interval '1 second'
    WHERE id IN (SELECT id FROM public.steadytext_queue WHERE id = ANY ($2) AND status = 'processing' AND worker_pid = $1 FOR UPDATE SKIP LOCKED))";

constexpr const char *kLost = R"(
    SELECT held.id FROM unnest($2) AS held (id)
    WHERE NOT EXISTS (SELECT FROM public.steadytext_queue q WHERE q.id = held.id AND q.status = 'processing' AND q.worker_pid = $1)
    ORDER BY held.id)";

// Returns how many rows became pending or failed, and how many still belong to another worker.
constexpr const char *kRecover = R"(
    WITH lost AS (SELECT id FROM public.steadytext_queue
                  WHERE completed_at IS NULL AND status = 'processing' AND worker_pid IS DISTINCT FROM $1 AND ($2 OR lease_until < clock_timestamp())
                  FOR UPDATE SKIP LOCKED),
    recovered AS (
    UPDATE public.steadytext_queue
    SET status = CASE WHEN lost_count < $3 THEN 'pending' ELSE 'failed' END, lost_count = lost_count + 1, worker_pid = NULL, lease_until = NULL,
        error = CASE WHEN lost_count < $3 THEN error ELSE 'its worker died again and again' END,
        completed_at = CASE WHEN lost_count < $3 THEN NULL ELSE clock_timestamp() END
    WHERE id IN (SELECT id FROM lost) RETURNING id)
    SELECT (SELECT count(*) FROM recovered), (SELECT count(*) FROM public.steadytext_queue
        WHERE completed_at IS NULL AND status = 'processing' AND worker_pid IS DISTINCT FROM $1 AND id NOT IN (SELECT id FROM recovered)))";

// The row may be pending: the claim may not have reached the disk when the worker took the server down. The first
// column of the result says whether the job is charged, or no longer exists.
constexpr const char *kChargeKiller = R"(
    WITH free AS (SELECT id FROM public.steadytext_queue WHERE id = $1 FOR UPDATE SKIP LOCKED),
    charged AS (
        UPDATE public.steadytext_queue
        SET kill_count = kill_count + 1, worker_pid = NULL, lease_until = NULL,
            status = CASE WHEN kill_count + 1 < $2 THEN 'pending' ELSE 'failed' END,
            error = CASE WHEN kill_count + 1 < $2 THEN error ELSE format('its worker died %s times while at work on it', kill_count + 1) END,
            completed_at = CASE WHEN kill_count + 1 < $2 THEN NULL ELSE clock_timestamp() END
        WHERE id IN (SELECT id FROM free) AND completed_at IS NULL AND status IN ('pending', 'processing')
        RETURNING status)
    SELECT EXISTS (SELECT FROM free) OR NOT EXISTS (SELECT FROM public.steadytext_queue WHERE id = $1),
           EXISTS (SELECT FROM charged WHERE status = 'failed'))";

constexpr const char *kFailOrphans = R"(
    UPDATE public.steadytext_queue
    SET status = 'failed', error = format('role "%s" does not exist', user_id), completed_at = clock_timestamp(), worker_pid = NULL,
        lease_until = NULL
    WHERE id IN (SELECT id FROM public.steadytext_queue WHERE user_oid IS NULL AND completed_at IS NULL FOR UPDATE SKIP LOCKED))";

// $2: the end of the previous page. Rows end nearly in the order in which they were queued, except rows that still
// wait. So a page with nothing to delete is the last page only if no row in it waits.
constexpr const char *kDeleteOld = R"(
    WITH page AS (SELECT id, completed_at FROM public.steadytext_queue WHERE id > $2 ORDER BY id LIMIT 5000),
    old AS (
        DELETE FROM public.steadytext_queue
        WHERE id IN (SELECT id FROM public.steadytext_queue
                     WHERE id > $2 AND id <= (SELECT max(id) FROM page) AND completed_at < clock_timestamp() - $1 * interval '1 second'
                       AND coalesce(callback_state, '') NOT IN ('due', 'running', 'held')
                     FOR UPDATE SKIP LOCKED)
        RETURNING id)
    SELECT max(id), count(*) = 5000 AND (count(*) > count(completed_at) OR EXISTS (SELECT FROM old)) FROM page)";

constexpr const char *kNextDue = R"(
    SELECT ceil(extract(epoch FROM greatest(run_at, '2000-01-01') - clock_timestamp()) * 1000)::bigint, user_oid FROM public.steadytext_queue
    WHERE completed_at IS NULL AND status = 'pending' AND user_oid <> ALL ($1) AND priority >= $2 AND run_at < 'infinity' ORDER BY run_at LIMIT 1)";

constexpr const char *kGiveBack = R"(
    UPDATE public.steadytext_queue SET status = 'pending', worker_pid = NULL, lease_until = NULL
    WHERE id IN (SELECT id FROM public.steadytext_queue
                 WHERE completed_at IS NULL AND status = 'processing' AND worker_pid = $1 FOR UPDATE SKIP LOCKED))";

constexpr const char *kGiveBackThese = R"(
    WITH mine AS (SELECT id FROM public.steadytext_queue WHERE id = ANY ($2) AND status = 'processing' AND worker_pid = $1),
    free AS (SELECT id FROM public.steadytext_queue WHERE id = ANY ($2) AND status = 'processing' AND worker_pid = $1 FOR UPDATE SKIP LOCKED),
    given AS (UPDATE public.steadytext_queue SET status = 'pending', worker_pid = NULL, lease_until = NULL WHERE id IN (SELECT id FROM free))
    SELECT id FROM mine WHERE id NOT IN (SELECT id FROM free) ORDER BY id)";

constexpr const char *kMeasure = R"(
    SELECT session_user_oid, count(*), min(created_at) FILTER (WHERE status = 'pending' AND isfinite(created_at) AND run_at < 'infinity')
    FROM public.steadytext_queue WHERE completed_at IS NULL GROUP BY session_user_oid)";

constexpr const char *kTable = "steadytext_queue";
using Statement = pg::KeptStatement;

// ---- claiming
// ----------------------------------------------------------------------------------------------------------

bool is_saturated(const RoleShare &share, std::uint32_t most) { return share.waiting() > most / 2; }

Datum roles_held_back(const HeldBack &held_back) {
    ArrayColumn roles;
    roles.begin(OIDOID, HeldBack::kMost);
    held_back.each(core::monotonic_us(), [&](Oid role, std::int64_t) { roles.add(ObjectIdGetDatum(role)); });
    return roles.array();
}

// The logins that have enough. They may have more in the table; `has_more` makes the worker ask for it once they need
// some.
Datum saturated(RoleShares &shares, std::uint32_t most) {
    int count = 0;
    for (const RoleShare *share = shares.begin(); share != nullptr; share = share->next)
        count++;
    ArrayColumn logins;
    logins.begin(OIDOID, count);
    for (RoleShare *share = shares.begin(); share != nullptr; share = share->next)
        if ((share->has_more = is_saturated(*share, most)))
            logins.add(ObjectIdGetDatum(share->login));
    return logins.array();
}

// During some incidents jobs with a lower priority are left alone (bgworker/incident_watch.hpp).
Datum least_priority() { return Int32GetDatum(shmem::segment().header->least_priority.load()); }

// ---- recording
// ---------------------------------------------------------------------------------------------------------

// Doubles with each attempt, from a second to five minutes, and varies by up to a quarter, so that jobs do not come
// back all at once.
std::int32_t back_off_ms(int attempts) {
    constexpr double kFirstMs = 1000, kLongestMs = 300'000;
    const double ms = std::min(kFirstMs * static_cast<double>(1 << std::min(attempts, 20)), kLongestMs);
    return static_cast<std::int32_t>(ms * (0.75 + 0.5 * pg::random_fraction()));
}

// The time that the refusing limit gave; or, while no daemon can be reached, a pause that grows with the job's age.
std::int32_t postponed_ms(const Job &job) {
    if (job.is_unreached)
        return static_cast<std::int32_t>(static_cast<double>(outage_pause_us(age_us(job))) / 1000 *
                                         (0.75 + 0.5 * pg::random_fraction()));
    constexpr std::int64_t kLeastUs = 250'000;
    return static_cast<std::int32_t>((std::clamp(job.limit_wait_us, kLeastUs, kMaxLimitWaitUs) + 999) / 1000);
}

Oid vector_type() {
    const Oid table = pg::own_table("steadytext_queue");
    return get_atttype(table, get_attnum(table, "embedding"));
}

Datum vector_of(std::string_view bytes) {
    auto *values = static_cast<float *>(palloc(bytes.size()));  // aligned; the answer's bytes need not be
    memcpy(values, bytes.data(), bytes.size());
    return pg::vector_datum({values, bytes.size() / sizeof(float)});
}

// The parameters of a statement: the pid of this process, then a column for each member of the rows.
template <std::size_t Count>
class Rows {
public:
    Rows(const Oid (&types)[Count], std::uint32_t capacity) {
        for (std::size_t i = 0; i < Count; i++)
            columns_[i].begin(types[i], static_cast<int>(capacity));
    }

    [[nodiscard]] bool is_empty() const { return count_ == 0; }
    // Begins a row; fill its columns in their order.
    ArrayColumn *add() {
        count_++;
        return columns_;
    }

    void execute(Statement &statement) const {
        Oid types[Count + 1] = {INT4OID};
        Datum values[Count + 1] = {Int32GetDatum(MyProcPid)};
        for (std::size_t i = 0; i < Count; i++) {
            types[i + 1] = columns_[i].array_type();
            values[i + 1] = columns_[i].array();
        }
        statement.execute(types, values);
    }

private:
    ArrayColumn columns_[Count];
    std::uint32_t count_ = 0;
};

bool is_put_off(const Job &job) {
    return job.outcome == Outcome::Postponed ||
           (job.outcome == Outcome::Retry && job.row.retry_count < job.row.max_retries);
}

Datum took_ms(const Job &job) {
    return Int32GetDatum(static_cast<std::int32_t>(std::min<std::int64_t>(job.took_us / 1000, INT32_MAX)));
}

void add_ended(const Job &job, ArrayColumn *column) {
    const bool done = job.outcome == Outcome::Done;
    const bool has_answer = done && !job.row.is_batch && !job.parts[0].is_null;
    const bool embeds = job.row.kind == JobKind::Embed;
    column++->add(Int64GetDatum(job.row.id));
    column++->add(CStringGetTextDatum(done ? "completed" : "failed"));
    has_answer && !embeds ? column++->add(pg::text_datum(job.parts[0].bytes)) : column++->add_null();
    has_answer &&embeds ? column++->add(vector_of(job.parts[0].bytes)) : column++->add_null();
    done ? column++->add_null() : column++->add(pg::text_datum(job.problem.message));
    column++->add(took_ms(job));
    column->add_text(job.daemon);
}

void add_put_off(const Job &job, ArrayColumn *column) {
    const bool counts = job.outcome == Outcome::Retry;
    column++->add(Int64GetDatum(job.row.id));
    column++->add(job.was_limited ? CStringGetTextDatum(psprintf("%s. %s", job.problem.message, job.problem.detail))
                                  : pg::text_datum(job.problem.message));
    column++->add(Int32GetDatum(job.row.retry_count + counts));
    column++->add(took_ms(job));
    column++->add(Int32GetDatum(counts ? back_off_ms(job.row.retry_count) : postponed_ms(job)));
    column->add(BoolGetDatum(job.was_limited));
}

// The answers of a batch, in the order of its parts. All of them are in memory at once, which is why they are limited;
// so batches are recorded one after another.
void record_batch(const Job &job) {
    static Statement texts{kTable, kRecordTexts, SPI_OK_UPDATE}, vectors{kTable, kRecordVectors, SPI_OK_UPDATE};
    const bool embeds = job.row.kind == JobKind::Embed;
    MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext, "steadytext batch", ALLOCSET_DEFAULT_SIZES);
    MemoryContext caller = MemoryContextSwitchTo(memory);
    ArrayColumn answers;
    answers.begin(embeds ? vector_type() : TEXTOID, static_cast<int>(std::max(job.part_count, 1U)));
    job.answers->rewind();
    for (std::uint32_t i = 0; i < job.part_count; i++) {
        bool is_null;
        const std::string_view bytes = job.answers->next(is_null);
        is_null ? answers.add_null() : answers.add(embeds ? vector_of(bytes) : pg::text_datum(bytes));
        if (!is_null)
            pfree(const_cast<char *>(bytes.data()));
    }
    const Oid types[] = {INT8OID, INT4OID, answers.array_type()};
    const Datum values[] = {Int64GetDatum(job.row.id), Int32GetDatum(MyProcPid), answers.array()};
    (embeds ? vectors : texts).execute(types, values);
    MemoryContextSwitchTo(caller);
    MemoryContextDelete(memory);
}

// Reads the rows that kEnd returned.
void tell_ended(SPITupleTable *rows, std::uint64_t count, void (*ended)(const pg_uuid_t &request, Oid login)) {
    for (std::uint64_t i = 0; i < count; i++) {
        Columns columns(rows, i);
        const pg_uuid_t request = *DatumGetUUIDP(columns.next());
        if (DatumGetBool(columns.next()))
            note_callback_due();
        bool is_null;
        const Datum login = columns.next(is_null);
        ended(request, is_null ? InvalidOid : DatumGetObjectId(login));
    }
}

Datum ids_of(JobLists lists) {
    ArrayColumn ids;
    std::uint32_t count = 0;
    for (const JobList *list : lists)
        count += list->count;
    ids.begin(INT8OID, static_cast<int>(count));
    for (const JobList *list : lists)
        for (const Job *job = list->first; job != nullptr; job = job->next)
            ids.add(Int64GetDatum(job->row.id));
    return ids.array();
}

// The first column of the last result, in the order of the result.
std::span<const std::int64_t> ids_returned() {
    auto *ids = static_cast<std::int64_t *>(palloc((SPI_processed + 1) * sizeof(std::int64_t)));
    for (std::uint64_t i = 0; i < SPI_processed; i++) {
        bool is_null;
        ids[i] = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &is_null));
    }
    return {ids, static_cast<std::size_t>(SPI_processed)};
}

}  // namespace

bool has_queue() { return OidIsValid(pg::own_table("steadytext_queue")); }

std::uint32_t claim(std::uint32_t most, std::uint32_t most_of_all, const HeldBack &held_back, std::int64_t uncharged,
                    MemoryContext parent, RoleShares &shares) {
    static Statement statement{kTable, kClaim, SPI_OK_UPDATE_RETURNING};
    const Oid types[] = {INT8OID, OIDARRAYOID, INT4OID, INT4OID, INT4OID, INT4OID, INT8OID, OIDARRAYOID};
    const Datum values[] = {Int64GetDatum(most),      roles_held_back(held_back),
                            Int32GetDatum(MyProcPid), Int32GetDatum(kLeaseSeconds),
                            least_priority(),         Int32GetDatum(static_cast<std::int32_t>(most_of_all)),
                            Int64GetDatum(uncharged), saturated(shares, most)};
    statement.execute(types, values);
    const auto count = static_cast<std::uint32_t>(SPI_processed);
    SPITupleTable *rows = SPI_tuptable;
    // No job runs unless all rows could be read: an error undoes the claim.
    auto **jobs = static_cast<Job **>(palloc((count + 1) * sizeof(Job *)));
    for (std::uint32_t i = 0; i < count; i++) {
        MemoryContext caller =
            MemoryContextSwitchTo(AllocSetContextCreate(parent, "steadytext job", ALLOCSET_SMALL_SIZES));
        jobs[i] = read_row(rows, i);
        MemoryContextSwitchTo(caller);
        shares.of(jobs[i]->row.session_user).has_more |= count == most_of_all;
    }
    for (std::uint32_t i = 0; i < count; i++) {
        shares.add(jobs[i]);
        RoleShare &share = shares.of(jobs[i]->row.session_user);
        share.has_more |= share.waiting() >= most;
    }
    SPI_freetuptable(rows);
    return count;
}

NextDue next_due(const HeldBack &held_back) {
    static Statement statement{kTable, kNextDue, SPI_OK_SELECT};
    const Oid types[] = {OIDARRAYOID, INT4OID};
    const Datum values[] = {roles_held_back(held_back), least_priority()};
    statement.execute(types, values);
    if (SPI_processed == 0)
        return {-1, InvalidOid};
    Columns columns(SPI_tuptable, 0);
    const std::int64_t ms = DatumGetInt64(columns.next());
    return {std::max<std::int64_t>(ms, 0), DatumGetObjectId(columns.next())};
}

void record(const JobList &jobs, void (*ended)(const pg_uuid_t &request, Oid login)) {
    static Statement end{kTable, kEnd, SPI_OK_UPDATE_RETURNING}, put_off{kTable, kPutOff, SPI_OK_UPDATE};
    Rows<7> ending({INT8OID, TEXTOID, TEXTOID, vector_type(), TEXTOID, INT4OID, TEXTOID}, jobs.count);
    Rows<6> waiting({INT8OID, TEXTOID, INT4OID, INT4OID, INT4OID, BOOLOID}, jobs.count);
    for (const Job *job = jobs.first; job != nullptr; job = job->next) {
        if (is_put_off(*job)) {
            add_put_off(*job, waiting.add());
            continue;
        }
        if (job->row.is_batch && job->outcome == Outcome::Done)
            record_batch(*job);
        add_ended(*job, ending.add());
    }
    if (!waiting.is_empty())
        waiting.execute(put_off);
    if (ending.is_empty())
        return;
    ending.execute(end);
    session::notify(session::Channel::QueueDone);
    tell_ended(SPI_tuptable, SPI_processed, ended);
}

void lock_rows(JobList &jobs, JobList &busy) {
    static Statement statement{kTable, kLock, SPI_OK_SELECT};
    const JobList *const lists[] = {&jobs};
    const Oid types[] = {INT8ARRAYOID};
    const Datum values[] = {ids_of(lists)};
    statement.execute(types, values);
    const std::span<const std::int64_t> locked = ids_returned();
    for (Job *job = jobs.first, *next; job != nullptr; job = next) {
        next = job->next;
        if (std::binary_search(locked.begin(), locked.end(), job->row.id))
            continue;
        jobs.remove(job);
        busy.add(job);
    }
}

void renew_leases(JobLists lists) {
    static Statement statement{kTable, kRenew, SPI_OK_UPDATE};
    const Oid types[] = {INT4OID, INT8ARRAYOID, INT4OID};
    const Datum values[] = {Int32GetDatum(MyProcPid), ids_of(lists), Int32GetDatum(kLeaseSeconds)};
    statement.execute(types, values);
}

std::span<const std::int64_t> lost(JobLists lists) {
    static Statement statement{kTable, kLost, SPI_OK_SELECT};
    const Oid types[] = {INT4OID, INT8ARRAYOID};
    const Datum values[] = {Int32GetDatum(MyProcPid), ids_of(lists)};
    statement.execute(types, values);
    return ids_returned();
}

void give_back() { give_back_of(MyProcPid); }

void give_back_of(std::int32_t worker) {
    static Statement statement{kTable, kGiveBack, SPI_OK_UPDATE};
    const Oid types[] = {INT4OID};
    const Datum values[] = {Int32GetDatum(worker)};
    statement.execute(types, values);
}

std::span<const std::int64_t> give_back(std::span<const std::int64_t> ids) {
    static Statement statement{kTable, kGiveBackThese, SPI_OK_SELECT};
    ArrayColumn column;
    column.begin(INT8OID, static_cast<int>(ids.size()));
    for (const std::int64_t id : ids)
        column.add(Int64GetDatum(id));
    const Oid types[] = {INT4OID, INT8ARRAYOID};
    const Datum values[] = {Int32GetDatum(MyProcPid), column.array()};
    statement.execute(types, values);
    return ids_returned();
}

Recovered recover(bool all) {
    static Statement statement{kTable, kRecover, SPI_OK_SELECT};
    const Oid types[] = {INT4OID, BOOLOID, INT4OID};
    const Datum values[] = {Int32GetDatum(MyProcPid), BoolGetDatum(all), Int32GetDatum(kMaxLosses)};
    statement.execute(types, values);
    Columns columns(SPI_tuptable, 0);
    const std::int64_t recovered = DatumGetInt64(columns.next());
    if (recovered > 0)
        session::notify(session::Channel::QueueDone);  // jobs that were lost too often are failed
    return {recovered, DatumGetInt64(columns.next())};
}

bool delete_old() {
    static std::int64_t position = 0;
    static Statement statement{kTable, kDeleteOld, SPI_OK_SELECT};
    if (guc::queue_retention_s == 0)
        return false;
    const Oid types[] = {INT4OID, INT8OID};
    const Datum values[] = {Int32GetDatum(guc::queue_retention_s), Int64GetDatum(position)};
    position = 0;  // also if the statement fails
    statement.execute(types, values);
    bool is_null;
    const Datum last = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null);
    const bool goes_on = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &is_null));
    if (goes_on)
        position = DatumGetInt64(last);
    return goes_on;
}

bool charge_killer(std::int64_t id) {
    static Statement statement{kTable, kChargeKiller, SPI_OK_SELECT};
    const Oid types[] = {INT8OID, INT4OID};
    const Datum values[] = {Int64GetDatum(id), Int32GetDatum(kMaxKills)};
    statement.execute(types, values);
    Columns columns(SPI_tuptable, 0);
    const bool is_settled = DatumGetBool(columns.next());
    if (DatumGetBool(columns.next()))
        session::notify(session::Channel::QueueDone);
    return is_settled;
}

void fail_orphans() {
    static Statement statement{kTable, kFailOrphans, SPI_OK_UPDATE};
    statement.execute();
    if (SPI_processed > 0)
        session::notify(session::Channel::QueueDone);
}

// A request that a session adds between reading the counts and the statement's snapshot is counted twice, until the
// next call.
void measure(shmem::DatabaseRow &row) {
    static Statement statement{kTable, kMeasure, SPI_OK_SELECT};
    shmem::QueuePlaces &places = row.queue_places;
    const std::int64_t length = places.length.load();
    std::int32_t lengths[shmem::QueuePlaces::kRoles];
    std::int64_t counted[shmem::QueuePlaces::kRoles] = {}, all = 0, oldest_us = 0;
    for (std::size_t i = 0; i < shmem::QueuePlaces::kRoles; i++)
        lengths[i] = places.roles[i].length.load();
    statement.execute();
    for (std::uint64_t i = 0; i < SPI_processed; i++) {
        Columns columns(SPI_tuptable, i);
        bool no_role, is_null;
        const Oid role = DatumGetObjectId(columns.next(no_role));
        const std::int64_t count = DatumGetInt64(columns.next(is_null));
        const Datum oldest = columns.next(is_null);
        all += count;
        if (!no_role)
            counted[&places.of(role) - places.roles] += count;
        if (const std::int64_t at_us = is_null ? 0 : pg::unix_us_of(DatumGetTimestampTz(oldest)); at_us != 0)
            oldest_us = oldest_us == 0 ? at_us : std::min(oldest_us, at_us);
    }
    places.length.fetch_add(all - length);
    for (std::size_t i = 0; i < shmem::QueuePlaces::kRoles; i++) {
        shmem::QueuePlaces::Entry &entry = places.roles[i];
        shmem::QueuePlaces::correct(entry.length, lengths[i], counted[i]);
        if (counted[i] == 0 && entry.held() == 0)
            entry.role.store(0, std::memory_order_release);  // pairs with the acquire in of()
    }
    row.queue_oldest_us.store(oldest_us);
}

}  // namespace steadytext::queue
