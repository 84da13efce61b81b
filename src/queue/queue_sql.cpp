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
#include "src/queue/queue_statements.hpp"
#include "src/session/notify.hpp"

extern "C" {
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
}

#include <algorithm>
#include <utility>

namespace steadytext::queue {

using worker::ArrayColumn;

namespace {

constexpr int kLeaseSeconds = 30;
constexpr int kMaxLosses = 5;  // workers that may die with a job in hand before it is given up
constexpr int kMaxKills = 2;   // workers that may die while at work on this very job

constexpr const char *kTable = "steadytext_queue";
using Statement = pg::KeptStatement;

// ---- claiming ------------------------------------------------------------------------------------------------------

bool is_saturated(const RoleShare &share, std::uint32_t most) { return share.waiting() > most / 2; }

pg::Bound roles_held_back(const HeldBack &held_back) {
    ArrayColumn roles;
    roles.begin(OIDOID, HeldBack::kMost);
    held_back.each(core::monotonic_us(), [&](Oid role, std::int64_t) { roles.add(ObjectIdGetDatum(role)); });
    return {OIDARRAYOID, roles.array()};
}

// The logins that have enough. They may have more in the table; `has_more` makes the worker ask for it once they need
// some.
pg::Bound saturated(RoleShares &shares, std::uint32_t most) {
    int count = 0;
    for (const RoleShare *share = shares.begin(); share != nullptr; share = share->next)
        count++;
    ArrayColumn logins;
    logins.begin(OIDOID, count);
    for (RoleShare *share = shares.begin(); share != nullptr; share = share->next)
        if ((share->has_more = is_saturated(*share, most)))
            logins.add(ObjectIdGetDatum(share->login));
    return {OIDARRAYOID, logins.array()};
}

// During some incidents jobs with a lower priority are left alone (bgworker/incident_watch.hpp).
std::int32_t least_priority() { return shmem::segment().header->least_priority.load(); }

// ---- recording -----------------------------------------------------------------------------------------------------

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
        pg::Bound values[Count + 1] = {MyProcPid};
        for (std::size_t i = 0; i < Count; i++)
            values[i + 1] = {columns_[i].array_type(), columns_[i].array()};
        statement.execute(values);
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
    (embeds ? vectors : texts).execute({job.row.id, MyProcPid, {answers.array_type(), answers.array()}});
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

pg::Bound ids_of(JobLists lists) {
    ArrayColumn ids;
    std::uint32_t count = 0;
    for (const JobList *list : lists)
        count += list->count;
    ids.begin(INT8OID, static_cast<int>(count));
    for (const JobList *list : lists)
        for (const Job *job = list->first; job != nullptr; job = job->next)
            ids.add(Int64GetDatum(job->row.id));
    return {INT8ARRAYOID, ids.array()};
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
    statement.execute({std::int64_t{most}, roles_held_back(held_back), MyProcPid, kLeaseSeconds, least_priority(),
                       static_cast<std::int32_t>(most_of_all), uncharged, saturated(shares, most)});
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
    statement.execute({roles_held_back(held_back), least_priority()});
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
    statement.execute({ids_of(lists)});
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
    statement.execute({MyProcPid, ids_of(lists), kLeaseSeconds});
}

std::span<const std::int64_t> lost(JobLists lists) {
    static Statement statement{kTable, kLost, SPI_OK_SELECT};
    statement.execute({MyProcPid, ids_of(lists)});
    return ids_returned();
}

void give_back() { give_back_of(MyProcPid); }

void give_back_of(std::int32_t worker) {
    static Statement statement{kTable, kGiveBack, SPI_OK_UPDATE};
    statement.execute({worker});
}

std::span<const std::int64_t> give_back(std::span<const std::int64_t> ids) {
    static Statement statement{kTable, kGiveBackThese, SPI_OK_SELECT};
    ArrayColumn column;
    column.begin(INT8OID, static_cast<int>(ids.size()));
    for (const std::int64_t id : ids)
        column.add(Int64GetDatum(id));
    statement.execute({MyProcPid, {INT8ARRAYOID, column.array()}});
    return ids_returned();
}

Recovered recover(bool all) {
    static Statement statement{kTable, kRecover, SPI_OK_SELECT};
    statement.execute({MyProcPid, all, kMaxLosses});
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
    const std::int64_t from = std::exchange(position, 0);  // also if the statement fails
    statement.execute({guc::queue_retention_s, from});
    bool is_null;
    const Datum last = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null);
    const bool goes_on = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &is_null));
    if (goes_on)
        position = DatumGetInt64(last);
    return goes_on;
}

bool charge_killer(std::int64_t id) {
    static Statement statement{kTable, kChargeKiller, SPI_OK_SELECT};
    statement.execute({id, kMaxKills});
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
