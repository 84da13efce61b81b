// The hub's side of a batch that a node sends: _steadytext.hub_take(), called by _steadytext.hub_put(). Regime: pg, with
// C++ only inside guarded().
//
// A batch is a list of records: answers and hits of the cache, usage, and audit rows. A node may be hostile, and it holds what its
// statement holds for as long as it likes. So nothing is written to a table here and no lock is taken: a record that is
// in order goes into shared memory, where the records of this server's own sessions are, and the keeper writes it with
// the same checks. A record is in order if it is for a role whose scope the administrator has allowed the node
// (sql/hub.sql), and src/core/foreign_record.* finds nothing wrong with it. Others are refused and counted, and hold up
// nothing.
//
// Ordering: first the epoch of the cache is read, then the number of clears. If the node knew that number when it asked,
// its answer is of after the last clear that is committed; a clear that is under way, or comes, raises the epoch, and
// the keeper then drops the record.
#include "src/pg/compat.hpp"
#include "shmem/segment.hpp"
#include "src/core/clock.hpp"
#include "src/core/foreign_record.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/caught.hpp"
#include "src/pg/text.hpp"
#include "src/session/cache_clears.hpp"
#include "src/session/cache_scope.hpp"
#include "src/session/keeper_call.hpp"

extern "C" {
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/fmgrprotos.h"
#include "utils/syscache.h"
}

#include <algorithm>
#include <cstring>
#include <span>
#include <string>

namespace {

using namespace steadytext;
using core::CacheRecord;

constexpr int kMostRecords = 2048;
constexpr std::int64_t kDayUs = 86'400'000'000;
constexpr int kDays = 40;                                       // that usage may be late
constexpr std::uint64_t kMostCounted = std::uint64_t{1} << 40;  // in one record of usage
// Audit rows of nodes are a kind by themselves for AuditPacing, beside the kinds of suspicion of sessions. All nodes together
// may leave so many of a role in a minute: each has paced its own.
constexpr std::uint32_t kNodesRows = 1000;
constexpr std::uint32_t kMostNodesRows = 1000;

// A record that is in order, ready for shared memory; of a refused one nothing.
struct Ready {
    std::string_view cache_record;
    const shmem::Usage::Entry *usage = nullptr;
    const shmem::AuditRecord *audit = nullptr;
    Oid audit_role = InvalidOid;
    [[nodiscard]] bool is_refused() const { return cache_record.empty() && usage == nullptr && audit == nullptr; }
};

struct Batch {
    std::span<const Oid> roles;  // that the node may write for; InvalidOid among them: all
    bool is_cleared;             // the cache was cleared since, as far as the node knew
    std::int64_t now_us;         // since 1970
    // The scope of the role that the last record was of.
    Oid role = InvalidOid;
    bool has_scope = false;
    std::string_view scope = {};
};

bool may_write(const Batch &batch, Oid role) {
    return std::any_of(batch.roles.begin(), batch.roles.end(),
                       [&](Oid each) { return !OidIsValid(each) || each == role; });
}

std::string_view scope_of(Batch &batch, Oid role) {
    if (!batch.has_scope || batch.role != role)
        batch.scope = session::scope_of(role);
    batch.role = role;
    batch.has_scope = true;
    return batch.scope;
}

// Whether PostgreSQL's input function of a type takes the text.
bool is_input(PGFunction input, std::string_view value) {
    if (!pg::fits_encoding(value))
        return false;
    const ErrorData *error = pg::caught(
        true, [&] { (void)DirectFunctionCall1(input, CStringGetDatum(TextDatumGetCString(pg::text_datum(value)))); });
    if (error == nullptr)
        return true;
    const int category = ERRCODE_TO_CATEGORY(error->sqlerrcode);
    if (category != ERRCODE_DATA_EXCEPTION && category != ERRCODE_PROGRAM_LIMIT_EXCEEDED)
        ReThrowError(const_cast<ErrorData *>(error));
    return false;
}

// `is_named`: of an independent node, where roles have other numbers; the scope names the role.
std::string_view check_cache_record(Batch &batch, std::string_view bytes, bool is_named) {
    CacheRecord record;
    if (batch.is_cleared || !core::decode(bytes, record) ||
        (is_named && !session::role_of_scope(record.scope, record.numbers.role)) ||
        !may_write(batch, record.numbers.role))
        return {};
    const std::string_view scope = scope_of(batch, record.numbers.role);
    core::Problem problem;
    if (scope.empty() || (is_named && record.scope != scope) ||
        !pg::try_guarded(problem,
                         [&](core::Problem &p) { return core::check_foreign(record, scope, batch.now_us, p); }) ||
        (!record.params.empty() && !is_input(jsonb_in, record.params)))
        return {};
    static std::string *encoded = new std::string;
    record.key_params = record.legacy_key = {};
    pg::guarded([&](core::Problem &) {
        core::encode(record, *encoded);
        return true;
    });
    return shmem::segment().cache_writes->fits_beside_sessions(encoded->size()) ? pg::copy_text(*encoded)
                                                                                : std::string_view{};
}

const shmem::Usage::Entry *check_usage(const Batch &batch, std::string_view bytes) {
    auto *entry = static_cast<shmem::Usage::Entry *>(palloc(sizeof(shmem::Usage::Entry)));
    if (bytes.size() != sizeof *entry)
        return nullptr;
    memcpy(entry, bytes.data(), sizeof *entry);
    const std::string_view model(entry->key.model, strnlen(entry->key.model, sizeof entry->key.model));
    const auto today = static_cast<std::int32_t>(batch.now_us / kDayUs);
    shmem::StatementCounts &counts = entry->counts;
    const std::uint64_t most = std::max({counts.calls, counts.hits, counts.failures, counts.limited,
                                         counts.prompt_tokens, counts.completion_tokens, counts.saved_tokens});
    if (!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(entry->key.role)) || !may_write(batch, entry->key.role) ||
        model.size() == sizeof entry->key.model || !core::utf8_is_valid(model) || !pg::fits_encoding(model) ||
        entry->key.day < today - kDays || entry->key.day > today + 1 || counts.calls == 0 || most > kMostCounted)
        return nullptr;
    entry->key.database = MyDatabaseId;
    counts.total_us = counts.min_us = counts.max_us = 0;
    return entry;
}

// The text in a field of an audit record; false if it does not end, or is not printable ASCII.
template <std::size_t Size>
bool read_field(const char (&field)[Size], std::string_view &value) {
    value = {field, strnlen(field, Size)};
    return value.size() < Size &&
           std::all_of(value.begin(), value.end(), [](char each) { return each >= ' ' && each <= '~'; });
}

// An audit row is of a role that the node may write for, and of a kind that sessions leave.
void check_audit(const Batch &batch, std::string_view bytes, Ready &ready) {
    auto *record = static_cast<shmem::AuditRecord *>(palloc(sizeof(shmem::AuditRecord)));
    if (bytes.size() != sizeof *record)
        return;
    memcpy(record, bytes.data(), sizeof *record);
    std::string_view address, event, message, details;
    if (!read_field(record->address, address) || !read_field(record->event_type, event) ||
        !read_field(record->message, message) || !read_field(record->details, details) ||
        strnlen(record->user, sizeof record->user) == sizeof record->user)
        return;
    const Oid role = get_role_oid(record->user, true);
    if (!OidIsValid(role) || !may_write(batch, role) || (event != "suspicious_input" && event != "server_action") ||
        (!address.empty() && !is_input(inet_in, address)) || !is_input(jsonb_in, details))
        return;
    record->at_us = std::clamp<std::int64_t>(record->at_us, batch.now_us - kDays * kDayUs, batch.now_us);
    ready.audit = record;
    ready.audit_role = role;
}

// Checks all records. May raise, so nothing is taken yet.
std::span<const Ready> check(Batch &batch, ArrayType *records) {
    Datum *values;
    bool *nulls;
    int count;
    deconstruct_array(records, BYTEAOID, -1, false, TYPALIGN_INT, &values, &nulls, &count);
    if (count > kMostRecords)
        ereport(ERROR,
                (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("a batch has %d records at most", kMostRecords)));
    auto *ready = static_cast<Ready *>(palloc0(sizeof(Ready) * static_cast<Size>(std::max(count, 1))));
    for (int i = 0; i < count; i++) {
        CHECK_FOR_INTERRUPTS();
        if (nulls[i])
            continue;
        bytea *value = DatumGetByteaPP(values[i]);
        std::string_view bytes(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
        const char kind = bytes.empty() ? '\0' : bytes.front();
        bytes.remove_prefix(bytes.empty() ? 0 : 1);
        if (kind == 'C' || kind == 'N')
            ready[i].cache_record = check_cache_record(batch, bytes, kind == 'N');
        else if (kind == 'U')
            ready[i].usage = check_usage(batch, bytes);
        else if (kind == 'A')
            check_audit(batch, bytes, ready[i]);
    }
    return {ready, static_cast<std::size_t>(count)};
}

// An audit row beyond the pace of its role, or that finds no room, is left out as those of sessions are
// (src/session/audit.cpp).
void take_audit(shmem::DatabaseRow &row, const Ready &ready) {
    const shmem::Segment &segment = shmem::segment();
    const std::uint64_t who = std::uint64_t{MyDatabaseId} << 32 | ready.audit_role;
    row.pending_audit.fetch_add(1);
    if (segment.audit_pacing->take(kNodesRows, who, core::monotonic_us(), kMostNodesRows).is_written &&
        segment.audit->put(MyDatabaseId, ready.audit_role, *ready.audit))
        return;
    row.pending_audit.fetch_sub(1);
    segment.counters->add(0, shmem::Counter::AuditDropped);
    row.note_audit_missing();
}

// Takes the records in their order, and returns how many are dealt with: others find no room now. Raises nothing, and
// does not wait.
std::uint32_t take(shmem::DatabaseRow &row, std::uint64_t epoch, std::span<const Ready> records,
                   std::uint32_t &refused) {
    const shmem::Segment &segment = shmem::segment();
    std::uint32_t done = 0;
    for (const Ready &each : records) {
        if (each.is_refused()) {
            refused++;
        } else if (each.usage != nullptr) {
            if (!segment.usage->add(each.usage->key, each.usage->counts))
                segment.counters->add(0, shmem::Counter::UsageDropped, each.usage->counts.calls);
            row.note_usage();
        } else if (each.audit != nullptr) {
            take_audit(row, each);
        } else {
            if (segment.cache_writes->is_crowded())
                break;
            row.pending_writes.fetch_add(1);
            if (!segment.cache_writes->put(MyDatabaseId, epoch, each.cache_record)) {
                row.pending_writes.fetch_sub(1);
                break;
            }
        }
        done++;
    }
    return done;
}

void check_call(std::int32_t format) {
    if (RecoveryInProgress())
        ereport(ERROR, (errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION), errmsg("a standby is no hub")));
    if (format != core::kForeignFormat)
        ereport(ERROR,
                (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("the node has another version than its hub"),
                 errdetail("Its records have format %d, and here format %d is known.", format, core::kForeignFormat),
                 errhint("Install the same version on both.")));
}

Datum result(FunctionCallInfo fcinfo, std::uint32_t done, std::uint32_t refused) {
    TupleDesc description;
    if (get_call_result_type(fcinfo, nullptr, &description) != TYPEFUNC_COMPOSITE)
        elog(ERROR, "the result of steadytext_hub_take is no row");
    Datum values[] = {Int32GetDatum(static_cast<std::int32_t>(done)),
                      Int32GetDatum(static_cast<std::int32_t>(refused))};
    bool nulls[] = {false, false};
    return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(description), values, nulls));
}

}  // namespace

// hub_take(format int, node bigint, batch bigint, clears bigint, records bytea[], node_role oid, roles oid[],
// OUT taken int, OUT refused int)
STEADYTEXT_FUNCTION(steadytext_hub_take) {
    check_call(PG_GETARG_INT32(0));
    const shmem::Segment &segment = shmem::segment();
    shmem::DatabaseRow *row = session::my_database();
    if (row == nullptr)
        ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
                        errmsg("more databases use pg_steadytext than shared memory has rows for"),
                        errhint("Raise steadytext.max_databases and restart the server.")));
    ArrayType *roles = PG_GETARG_ARRAYTYPE_P(6);
    const std::uint64_t epoch = segment.cache_epochs->of(MyDatabaseId);
    Batch batch{
        .roles = {reinterpret_cast<const Oid *>(ARR_DATA_PTR(roles)),
                  static_cast<std::size_t>(ArrayGetNItems(ARR_NDIM(roles), ARR_DIMS(roles)))},
        .is_cleared = session::clears() != PG_GETARG_INT64(3),
        .now_us = core::unix_us(),
    };
    const std::span<const Ready> records = check(batch, PG_GETARG_ARRAYTYPE_P(4));
    const auto all = static_cast<std::uint32_t>(records.size());

    using Claim = shmem::HubNodes::Claim;
    const shmem::HubNodes::Who who{MyDatabaseId, PG_GETARG_OID(5), static_cast<std::uint64_t>(PG_GETARG_INT64(1))};
    const Claim claim = segment.hub_nodes->claim(who, static_cast<std::uint64_t>(PG_GETARG_INT64(2)), batch.now_us);
    if (claim.state == Claim::State::Busy)
        ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE), errmsg("the batch is being taken")));
    if (claim.state == Claim::State::Passed)
        ereport(ERROR,
                (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("a later batch of this node has been taken"),
                 errdetail("Another server may send batches under this node's number."),
                 errhint("Give each node a role of its own, and restart the node: it gets another number.")));
    if (claim.state == Claim::State::Done)
        return result(fcinfo, std::min(claim.done, all), 0);
    std::uint32_t refused = 0;
    const std::uint32_t done = take(*row, epoch, records, refused);
    segment.hub_nodes->settle(claim.place, done, refused);
    segment.counters->add(0, shmem::Counter::HubTaken, done - refused);
    segment.counters->add(0, shmem::Counter::HubTurnedAway, refused);
    session::wake_keeper(*row);
    return result(fcinfo, done, refused);
}
