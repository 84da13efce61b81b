// Takes records and writes them as an array of bytea: see node_batch.hpp. Regime: pg, with C++ only inside guarded().
#include "src/pg/compat.hpp"
#include "bgworker/node_batch.hpp"
#include "src/core/cache_record.hpp"
#include "src/core/clock.hpp"
#include "src/guc.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/text.hpp"
#include "src/pg/time.hpp"

extern "C" {
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
}

#include <algorithm>
#include <cstring>
#include <string>

namespace steadytext::worker {

namespace {

using core::CacheRecord;

constexpr std::uint32_t kMostRecords = 1500;  // a hub takes 2048

shmem::HubLink &link_of(const shmem::DatabaseRow &row) {
    const auto index = static_cast<std::uint32_t>(&row - shmem::segment().databases->begin());
    return shmem::hub_links().link(index, row.oid.load());
}

}  // namespace

bool is_node(const shmem::DatabaseRow &row) {
    return guc::has_hub() && !RecoveryInProgress() && link_of(row).standing.load() == shmem::Standing::Node;
}

void NodeBatch::begin(shmem::DatabaseRow *row, shmem::HubLink *link) {
    row_ = row;
    link_ = link;
    records_.begin();
}

// False: it is nothing for the hub, or of before a clear.
bool NodeBatch::add(std::uint32_t index, std::uint64_t epoch) {
    const shmem::CacheWrites &writes = *shmem::segment().cache_writes;
    const std::size_t size = writes.size(index);
    if (writes.epoch(index) != epoch || size > MaxAllocSize / 4)
        return false;
    const std::uint32_t before = records_.count();
    char *bytes = static_cast<char *>(palloc(size + 1));
    CacheRecord record;
    if (writes.copy_out(index, bytes) && core::decode({bytes, size}, record)) {
        std::string_view pack = record.vector;
        if (record.numbers.kind != CacheRecord::Kind::Hit || pack.empty())
            records_.add('N', bytes, size);
        else
            for (std::uint32_t each = 0; pack.size() > sizeof each; pack.remove_prefix(each)) {
                memcpy(&each, pack.data(), sizeof each);
                pack.remove_prefix(sizeof each);
                each = std::min(each, static_cast<std::uint32_t>(pack.size()));
                records_.add('N', pack.data(), each);
            }
    }
    pfree(bytes);
    return records_.count() > before;
}

bool NodeBatch::fill() {
    taken_.count = 0;
    // The number first, then the epoch: the worker raises the epoch before it writes the number down.
    const std::int64_t clears = link_->heard.load(std::memory_order_acquire);
    records_.clear(clears);
    const std::uint64_t epoch = shmem::segment().cache_epochs->of(MyDatabaseId);
    const Oid database = shmem::for_hub(MyDatabaseId);
    if (clears < 0 || !OidIsValid(database))
        return false;
    shmem::CacheWrites &writes = *shmem::segment().cache_writes;
    std::uint32_t index = 0;
    for (std::uint32_t looks = 0; looks < HubRecords::kLooksAtOnce && taken_.count < TakenWrites::kMost &&
                                  !records_.is_full() && records_.count() < kMostRecords;
         looks++, index++) {
        if (!writes.take(database, index))
            break;
        if (add(index, epoch)) {
            ends_[taken_.count] = records_.count();
            taken_.indexes[taken_.count++] = index;
            continue;
        }
        writes.finish(index);
        link_->pending.fetch_sub(1);
    }
    if (is_empty())
        return false;
    records_.finish();
    return true;
}

// Of a pack that was dealt with in part the rest is lost: hits are never counted twice.
void NodeBatch::settle(const HubTaken &answer) {
    const shmem::Segment &segment = shmem::segment();
    std::uint32_t done = std::min(answer.taken, records_.count());
    const std::uint32_t refused = std::min(answer.refused, done);
    segment.counters->add(0, shmem::Counter::HubSent, done - refused);
    segment.counters->add(0, shmem::Counter::HubRefused, refused);
    for (std::uint32_t i = 0; i < taken_.count; i++) {
        if (done <= (i == 0 ? 0 : ends_[i - 1])) {
            segment.cache_writes->put_back(shmem::for_hub(MyDatabaseId), taken_.indexes[i]);
            continue;
        }
        segment.cache_writes->finish(taken_.indexes[i]);
        link_->pending.fetch_sub(1);
    }
    records_.settled();
    taken_.count = 0;
}

namespace {

void put_pack(shmem::HubLink &link, std::string &pack) {
    static std::string *bytes = new std::string;
    CacheRecord record;
    record.numbers.kind = CacheRecord::Kind::Hit;
    record.vector = pack;
    pg::guarded([&](core::Problem &) {
        core::encode(record, *bytes);
        return true;
    });
    shmem::CacheWrites &writes = *shmem::segment().cache_writes;
    link.pending.fetch_add(1);
    if (!writes.is_crowded() &&
        writes.put(shmem::for_hub(MyDatabaseId), shmem::segment().cache_epochs->of(MyDatabaseId), *bytes))
        return;
    link.pending.fetch_sub(1);
    link.dropped.fetch_add(1);
}

void add_hit(std::string &pack, const CacheRecord &hit) {
    static std::string *bytes = new std::string;
    pg::guarded([&](core::Problem &) {
        core::encode(hit, *bytes);
        const auto size = static_cast<std::uint32_t>(bytes->size());
        pack.append(reinterpret_cast<const char *>(&size), sizeof size);
        pack.append(*bytes);
        return true;
    });
}

}  // namespace

void tell_hub_of_hits(Datum keys, Datum hits, Datum times) {
    constexpr const char *kFind = R"(
        SELECT decode(h.key, 'hex'), h.hits, h.at, c.scope FROM unnest($1, $2, $3) AS h (key, hits, at)
        JOIN public.steadytext_cache c ON c.cache_key = h.key WHERE c.scope <> '')";
    const std::uint32_t index = shmem::segment().databases->find(MyDatabaseId);
    if (index == shmem::DatabaseTable::kNone || !OidIsValid(shmem::for_hub(MyDatabaseId)))
        return;
    shmem::HubLink &link = shmem::hub_links().link(index, MyDatabaseId);
    Oid types[] = {TEXTARRAYOID, INT8ARRAYOID, get_array_type(TIMESTAMPTZOID)};
    Datum values[] = {keys, hits, times};
    if (SPI_execute_with_args(kFind, 3, types, values, nullptr, true, 0) != SPI_OK_SELECT)
        elog(ERROR, "could not find the rows of hits");
    static std::string *pack = new std::string;
    pack->clear();
    for (std::uint64_t i = 0; i < SPI_processed; i++) {
        bool nulls[4];
        Datum found[4];
        for (int column = 0; column < 4; column++)
            found[column] = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, column + 1, &nulls[column]);
        if (std::any_of(nulls, nulls + 4, [](bool each) { return each; }))
            continue;
        CacheRecord hit;
        const bytea *key = DatumGetByteaPP(found[0]);
        if (VARSIZE_ANY_EXHDR(key) != sizeof hit.numbers.key.bytes)
            continue;
        hit.numbers.kind = CacheRecord::Kind::Hit;
        memcpy(hit.numbers.key.bytes, VARDATA_ANY(key), sizeof hit.numbers.key.bytes);
        hit.numbers.hits = static_cast<std::int32_t>(std::min<std::int64_t>(DatumGetInt64(found[1]), INT32_MAX));
        hit.numbers.at_us = pg::unix_us_of(DatumGetTimestampTz(found[2]));
        hit.scope = pg::utf8_text(found[3]);
        add_hit(*pack, hit);
        if (pack->size() >= kPackBytes) {
            put_pack(link, *pack);
            pack->clear();
        }
    }
    if (!pack->empty())
        put_pack(link, *pack);
    pg::set_latch_of(link.proc_number.load());
}

}  // namespace steadytext::worker
