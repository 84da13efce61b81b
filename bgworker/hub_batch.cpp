// Takes records and writes them as an array of bytea: see hub_batch.hpp. Regime: pg, with C++ only inside guarded().
#include "src/pg/compat.hpp"
#include "bgworker/hub_batch.hpp"
#include "bgworker/keeper_usage.hpp"
#include "bgworker/keepers.hpp"
#include "src/core/cache_record.hpp"
#include "src/core/clock.hpp"
#include "src/pg/boundary.hpp"

extern "C" {
#include "utils/memutils.h"
}

#include <algorithm>
#include <cstring>
#include <string>

namespace steadytext::worker {

namespace {

using core::CacheRecord;

constexpr std::uint32_t kHitsAtOnce = 640;  // with the most of the others: what a hub takes at once

bool hits_are_due(const shmem::DatabaseRow &row, std::int64_t now_us, std::int64_t &due_us) {
    if (row.hits() == row.hits_refreshed.load())
        return false;
    const std::int64_t refresh_us = row.refreshed_us.load() + refresh_interval_us();
    due_us = std::min(due_us, refresh_us);
    return refresh_us <= now_us;
}

}  // namespace

bool has_news(const shmem::DatabaseRow &row, std::int64_t now_us, std::int64_t &due_us) {
    if (row.pending_writes.load() > 0 || row.pending_audit.load() > 0 || usage_is_due(row, now_us) ||
        hits_are_due(row, now_us, due_us))
        return true;
    if (const std::int64_t since_us = row.usage_since_us.load(); since_us != 0)
        due_us = std::min(due_us, since_us + kUsageUs);
    return false;
}

void HubBatch::begin(shmem::DatabaseRow *row) {
    row_ = row;
    records_.begin();
}

// False: it is nothing for the hub, or of before a clear.
bool HubBatch::add_cache_record(std::uint32_t index, std::uint64_t epoch) {
    const shmem::CacheWrites &writes = *shmem::segment().cache_writes;
    const std::size_t size = writes.size(index);
    if (writes.epoch(index) != epoch || size > MaxAllocSize / 4)
        return false;
    char *bytes = static_cast<char *>(palloc(size + 1));
    CacheRecord record;
    const bool is_for_hub = writes.copy_out(index, bytes) && core::decode({bytes, size}, record) &&
                            record.numbers.kind != CacheRecord::Kind::Rekey;
    if (is_for_hub)
        records_.add('C', bytes, size);
    pfree(bytes);
    return is_for_hub;
}

void HubBatch::take_cache_records(std::uint64_t epoch) {
    shmem::CacheWrites &writes = *shmem::segment().cache_writes;
    std::uint32_t index = 0;
    for (std::uint32_t looks = 0;
         looks < HubRecords::kLooksAtOnce && taken_.count < TakenWrites::kMost && !records_.is_full();
         looks++, index++) {
        if (!writes.take(MyDatabaseId, index))
            break;
        if (add_cache_record(index, epoch)) {
            taken_.indexes[taken_.count++] = index;
            continue;
        }
        writes.finish(index);
        row_->pending_writes.fetch_sub(1);
    }
}

void HubBatch::drain_hits(std::int64_t now_us) {
    shmem::HotCache *hot_cache = shmem::segment().hot_cache;
    std::int64_t ignored = INT64_MAX;
    if (hits_count_ > 0 || !hits_are_due(*row_, now_us, ignored))
        return;
    const std::uint64_t hits = row_->hits();
    if (hot_cache != nullptr)
        hot_cache->drain_hits(MyDatabaseId, [&](const shmem::KeyHits &each) {
            if (hits_count_ == hits_room_) {
                hits_room_ = std::max(2 * hits_room_, 1024U);
                const Size bytes = sizeof(shmem::KeyHits) * hits_room_;
                hits_ = static_cast<shmem::KeyHits *>(hits_ == nullptr ? MemoryContextAllocHuge(TopMemoryContext, bytes)
                                                                       : repalloc_huge(hits_, bytes));
            }
            hits_[hits_count_++] = each;
        });
    row_->hits_refreshed.store(hits);
    row_->refreshed_us.store(now_us);
}

void HubBatch::take_hits(std::int64_t now_us) {
    drain_hits(now_us);
    static std::string *bytes = new std::string;
    for (hits_sent_ = 0; hits_sent_ < std::min(hits_count_, kHitsAtOnce); hits_sent_++) {
        const shmem::KeyHits &each = hits_[hits_count_ - 1 - hits_sent_];  // from the end, so that nothing has to move
        CacheRecord hit;
        hit.numbers.kind = CacheRecord::Kind::Hit;
        hit.numbers.key = each.key;
        hit.numbers.role = each.role;
        hit.numbers.hits = static_cast<std::int32_t>(std::min<std::uint32_t>(each.hits, INT32_MAX));
        hit.numbers.at_us = each.last_hit_us;
        pg::guarded([&](core::Problem &) {
            core::encode(hit, *bytes);
            return true;
        });
        records_.add('C', bytes->data(), bytes->size());
    }
}

void HubBatch::take_audit() {
    const shmem::AuditRing &ring = *shmem::segment().audit;
    for (std::uint32_t index = 0; audit_sent_ < kAuditAtOnce; index++) {
        if ((index = ring.find(MyDatabaseId, index)) == shmem::AuditRing::kNone)
            return;
        records_.add('A', reinterpret_cast<const char *>(&ring[index]), sizeof(shmem::AuditRecord));
        audit_[audit_sent_++] = index;
    }
}

bool HubBatch::fill(std::int64_t now_us) {
    taken_.count = hits_sent_ = usage_sent_ = audit_sent_ = 0;
    // The number of clears first, then the epoch: src/session/cache_clears.cpp raises the epoch before it writes the
    // number down, so a record of this epoch is never sent with a number that its session did not know.
    const std::int64_t clears = row_->clears_heard.load(std::memory_order_acquire);
    records_.clear(clears);
    const std::uint64_t epoch = shmem::segment().cache_epochs->of(MyDatabaseId);
    take_audit();
    if (usage_is_due(*row_, now_us) && take_usage(*row_)) {
        const std::span<const shmem::Usage::Entry> entries = taken_usage();
        for (const shmem::Usage::Entry &each : entries)
            records_.add('U', reinterpret_cast<const char *>(&each), sizeof each);
        usage_sent_ = static_cast<std::uint32_t>(entries.size());
    }
    if (clears >= 0) {
        take_hits(now_us);
        take_cache_records(epoch);
    }
    if (is_empty())
        return false;
    records_.finish();
    return true;
}

void HubBatch::settle(const HubTaken &answer) {
    const shmem::Segment &segment = shmem::segment();
    std::uint32_t done = std::min(answer.taken, records_.count());
    const std::uint32_t refused = std::min(answer.refused, done);
    segment.counters->add(0, shmem::Counter::HubSent, done - refused);
    segment.counters->add(0, shmem::Counter::HubRefused, refused);
    const auto take = [&](std::uint32_t sent) {
        const std::uint32_t of_them = std::min(done, sent);
        done -= of_them;
        return of_them;
    };
    for (std::uint32_t i = 0, audited = take(audit_sent_); i < audited; i++) {
        segment.audit->finish(audit_[i]);
        row_->pending_audit.fetch_sub(1);
    }
    if (const std::uint32_t written = take(usage_sent_); usage_sent_ > 0)
        settle_usage(written);
    hits_count_ -= take(hits_sent_);
    for (std::uint32_t i = 0; i < taken_.count; i++) {
        if (i >= done) {
            segment.cache_writes->put_back(MyDatabaseId, taken_.indexes[i]);
            continue;
        }
        segment.cache_writes->finish(taken_.indexes[i]);
        row_->pending_writes.fetch_sub(1);
    }
    records_.settled();
    taken_.count = hits_sent_ = usage_sent_ = audit_sent_ = 0;
}

}  // namespace steadytext::worker
