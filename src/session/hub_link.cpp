// The gate before the cache, and questions to the hub: see hub_link.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/session/hub_link.hpp"
#include "shmem/segment.hpp"
#include "src/core/breaker.hpp"
#include "src/core/cache_record.hpp"
#include "src/core/clock.hpp"
#include "src/core/utf8.hpp"
#include "src/guc.hpp"
#include "src/pg/once.hpp"
#include "src/pg/own_table.hpp"
#include "src/pg/text.hpp"
#include "src/session/answer_cache.hpp"
#include "src/session/keeper_call.hpp"

extern "C" {
#include "access/relation.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
}

#include <algorithm>
#include <cmath>
#include <utility>

namespace steadytext::session {

using shmem::HubAsks;
using shmem::Standing;

namespace {

constexpr std::int64_t kAskAgainUs = 50'000;     // while another node computes
constexpr std::int64_t kPatienceUs = 2'000'000;  // for a later word of the hub, which has answered before
constexpr core::BreakerSettings kBreaker{3, 1'000'000};

// Whether the table _steadytext.hub_link has a row.
bool has_hub_row() {
    const Oid oid = pg::own_table("hub_link", "_steadytext");
    Relation table = OidIsValid(oid) ? try_relation_open(oid, AccessShareLock) : nullptr;
    if (table == nullptr)
        return false;
    TupleTableSlot *row = table_slot_create(table, nullptr);
    Snapshot snapshot = RegisterSnapshot(IsInParallelMode() ? GetActiveSnapshot() : GetLatestSnapshot());
    TableScanDesc scan = table_beginscan(table, snapshot, 0, nullptr);
    const bool found = table_scan_getnextslot(scan, ForwardScanDirection, row);
    table_endscan(scan);
    UnregisterSnapshot(snapshot);
    ExecDropSingleTupleTableSlot(row);
    relation_close(table, AccessShareLock);
    return found;
}

Standing standing_of(shmem::HubLink &link) {
    Standing standing = link.standing.load(std::memory_order_acquire);
    if (standing != Standing::Unknown)
        return standing;
    const Standing read = has_hub_row() ? Standing::Node : Standing::Alone;
    return link.standing.compare_exchange_strong(standing, read) ? read : standing;
}

void wake_worker(const shmem::HubLink &link) {
    const std::int32_t worker = link.proc_number.load();
    pg::set_latch_of(worker >= 0 ? worker : shmem::segment().header->launcher.proc_number.load());
}

std::int64_t max_staleness_us() { return std::int64_t{guc::hub_max_staleness_ms} * 1000; }

shmem::PayloadPool &pool() { return *shmem::segment().payloads; }

bool is_clearing = false;  // this transaction

void end_leases(int, Datum) { shmem::hub_leases().end_of(MyProcPid); }

}  // namespace

shmem::HubLink *hub_link() {
    const shmem::DatabaseRow *row = my_database();
    if (row == nullptr)
        return nullptr;
    const auto index = static_cast<std::uint32_t>(row - shmem::segment().databases->begin());
    return &shmem::hub_links().link(index, MyDatabaseId);
}

shmem::HubLink *node_link() {
    if (!guc::has_hub() || RecoveryInProgress())
        return nullptr;
    shmem::HubLink *link = hub_link();
    return link != nullptr && standing_of(*link) == Standing::Node ? link : nullptr;
}

bool is_fresh() {
    const shmem::HubLink *link = node_link();
    return link == nullptr || link->is_current(core::monotonic_us(), max_staleness_us());
}

bool is_table_fresh() {
    const shmem::HubLink *link = node_link();
    return link == nullptr || (!link->table_is_stale.load() && is_fresh());
}

void tell_hub(shmem::HubLink &link, std::string_view bytes, std::uint64_t epoch) {
    shmem::CacheWrites &writes = *shmem::segment().cache_writes;
    const Oid database = shmem::for_hub(MyDatabaseId);
    if (!OidIsValid(database))
        return;
    const bool is_first = link.pending.fetch_add(1) == 0;
    if (writes.is_crowded() || !writes.put(database, epoch, bytes)) {
        link.pending.fetch_sub(1);
        link.dropped.fetch_add(1);
    } else if (is_first) {
        wake_worker(link);
    }
}

void note_clearing() {
    shmem::HubLink *link = is_clearing ? nullptr : node_link();
    if (link == nullptr)
        return;
    link->clearing.fetch_add(1);
    is_clearing = true;
}

// At the end of a transaction, where nothing may be raised.
void note_clear_over(bool is_committed) {
    if (!is_clearing)
        return;
    is_clearing = false;
    shmem::HubLink *link = hub_link();
    if (link == nullptr)
        return;
    if (is_committed)
        link->cleared.fetch_add(1);
    link->clearing.fetch_sub(1);
    wake_worker(*link);
}

// ---- questions ------------------------------------------------------------------------------------------------------

bool HubAsk::begin(const CacheQuery &query, shmem::HubLink &link) {
    const std::int64_t now_us = core::monotonic_us();
    is_over_ = true;
    if (guc::hub_lookup_timeout_ms == 0 || query.scope.empty() || link.pid.load() == 0 ||
        !link.is_current(now_us, max_staleness_us()) || link.has_untold_clears() ||
        !link.breaker.admit(kBreaker, now_us))
        return false;
    slot_ = shmem::hub_asks().ask(MyDatabaseId, pg::my_proc_number(), query.key,
                                  query.kind == shmem::ValueKind::Embedding, query.scope);
    if (slot_ == HubAsks::kNone) {
        link.breaker.return_probe();
        return false;
    }
    is_over_ = false;
    deadline_us_ = now_us + std::int64_t{guc::hub_lookup_timeout_ms} * 1000;
    link.asked.fetch_add(1, std::memory_order_relaxed);
    wake_worker(link);
    return true;
}

bool HubAsk::has_news() const {
    if (slot_ == HubAsks::kNone)
        return is_over_;
    const HubAsks::State state = shmem::hub_asks().state(slot_);
    return state != HubAsks::State::Asked && state != HubAsks::State::Taken && state != HubAsks::State::Wait;
}

HubAsk::Outcome HubAsk::advance_on_hub(const CacheQuery &query, std::int64_t deadline_us, std::int64_t &again_us) {
    constexpr std::int64_t kLatelyUs = 60'000'000;
    const std::int64_t now_us = core::monotonic_us();
    shmem::HubLink *link = RecoveryInProgress() ? nullptr : hub_link();
    const std::int64_t watched_us = link == nullptr ? 0 : link->watched_us.load(std::memory_order_relaxed);
    is_over_ = true;
    if (watched_us == 0 || now_us - watched_us > kLatelyUs)
        return Outcome::Nothing;
    pg::once([] { on_shmem_exit(end_leases, static_cast<Datum>(0)); });
    lease_ = {MyDatabaseId, query.role, query.key};
    const shmem::HubLeases::Verdict verdict = shmem::hub_leases().claim(lease_, MyProcPid, now_us);
    has_lease_ = verdict == shmem::HubLeases::Verdict::Mine;
    link->led.fetch_add(has_lease_ ? 1 : 0, std::memory_order_relaxed);
    if (wait_until_us_ == 0) {
        wait_until_us_ = now_us + (deadline_us - now_us) / 2;  // then the call asks a daemon itself
        link->waited.fetch_add(verdict == shmem::HubLeases::Verdict::Others ? 1 : 0, std::memory_order_relaxed);
    }
    if (verdict != shmem::HubLeases::Verdict::Others || now_us >= wait_until_us_)
        return Outcome::Nothing;
    is_over_ = false;
    again_us = now_us + kAskAgainUs;
    return Outcome::Look;
}

HubAsk::Outcome HubAsk::advance(const CacheQuery &query, std::int64_t deadline_us, std::int64_t &again_us) {
    shmem::HubLink *link = is_over_ ? nullptr : node_link();
    if (link == nullptr && !is_over_)
        return advance_on_hub(query, deadline_us, again_us);
    if (link == nullptr || (slot_ == HubAsks::kNone && !begin(query, *link)))
        return Outcome::Nothing;
    HubAsks &asks = shmem::hub_asks();
    const std::int64_t now_us = core::monotonic_us();
    const HubAsks::State state = asks.state(slot_);
    if (state != HubAsks::State::Asked && state != HubAsks::State::Taken && !has_heard_) {
        has_heard_ = true;
        link->breaker.record_success(kBreaker, now_us);
    }
    switch (state) {
    case HubAsks::State::Found:
        link->found.fetch_add(1, std::memory_order_relaxed);
        return Outcome::Found;
    case HubAsks::State::Lead:  // the slot stays until the call is over
        link->led.fetch_add(1, std::memory_order_relaxed);
        is_over_ = true;
        return Outcome::Nothing;
    case HubAsks::State::Asked:
    case HubAsks::State::Taken:
        if (now_us < deadline_us_) {
            again_us = deadline_us_;
            return Outcome::Waits;
        }
        if (!has_heard_)
            link->breaker.record_failure(kBreaker, now_us);
        link->late.fetch_add(1, std::memory_order_relaxed);
        break;
    case HubAsks::State::Wait:
        if (!std::exchange(has_waited_, true)) {
            link->waited.fetch_add(1, std::memory_order_relaxed);
            wait_until_us_ = now_us + (deadline_us - now_us) / 2;  // then the call asks a daemon itself
        }
        if (now_us >= wait_until_us_)
            break;
        if (again_us_ == 0)
            again_us_ = now_us + kAskAgainUs;
        if (now_us >= again_us_) {
            again_us_ = 0;
            deadline_us_ = now_us + kPatienceUs;
            asks.ask_again(slot_);
            wake_worker(*link);
        }
        again_us = again_us_ != 0 ? again_us_ : deadline_us_;
        return Outcome::Waits;
    default:
        break;
    }
    end(false);
    is_over_ = true;
    return Outcome::Nothing;
}

namespace {

// What a daemon could have answered as well. The hub may say anything.
bool is_answer(const CacheQuery &query, const core::CacheRecord &record) {
    constexpr std::size_t kMaxDimensions = 16'000;
    constexpr std::size_t kMaxReason = 64;
    if (query.kind != shmem::ValueKind::Embedding) {
        core::Problem ignored;
        return record.vector.empty() && record.finish_reason.size() <= kMaxReason && core::utf8_is_valid(record.text) &&
               core::utf8_is_valid(record.finish_reason) && record.text.find('\0') == std::string_view::npos &&
               record.finish_reason.find('\0') == std::string_view::npos && pg::check_encoding(record.text, ignored);
    }
    const std::size_t dimensions = record.vector.size() / sizeof(float);
    if (record.vector.size() % sizeof(float) != 0 || dimensions == 0 || dimensions > kMaxDimensions)
        return false;
    for (std::size_t i = 0; i < dimensions; i++) {
        float value;
        memcpy(&value, record.vector.data() + i * sizeof value, sizeof value);
        if (!std::isfinite(value))
            return false;
    }
    return true;
}

}  // namespace

bool HubAsk::take(const CacheQuery &query, CachedAnswer &answer) {
    HubAsks::Slot &slot = shmem::hub_asks()[slot_];
    const std::size_t size = slot.answer.bytes;
    char *bytes = static_cast<char *>(palloc(size + 1));
    core::CacheRecord record;
    const bool is_good =
        pool().copy_out(slot.answer, bytes) && core::decode({bytes, size}, record) && is_answer(query, record);
    end(false);
    is_over_ = true;
    if (!is_good)
        return false;
    answer = {};
    answer.kind = query.kind;
    answer.text = record.text;
    answer.vector = record.vector;
    answer.prompt_tokens = std::max(record.numbers.prompt_tokens, -1);
    answer.completion_tokens = std::max(record.numbers.completion_tokens, -1);
    answer.finish_reason = record.finish_reason;
    answer.expires_us = record.numbers.expires_us;
    return true;
}

void HubAsk::end(bool is_kept) {
    if (std::exchange(has_lease_, false))
        shmem::hub_leases().end(lease_, MyProcPid, is_kept, core::monotonic_us());
    if (slot_ == HubAsks::kNone)
        return;
    const std::uint32_t slot = slot_;
    slot_ = HubAsks::kNone;
    const shmem::HubLink *link = hub_link();
    if (!shmem::hub_asks().leave(slot, is_kept, pool()) || link == nullptr)
        return;
    if (link->pid.load() != 0) {
        wake_worker(*link);
        return;
    }
    // No worker will look: the hub knows by the end of its connection.
    if (shmem::hub_asks().take(slot, MyDatabaseId, is_kept ? HubAsks::State::Kept : HubAsks::State::Failed))
        shmem::hub_asks().free(slot);
}

}  // namespace steadytext::session
