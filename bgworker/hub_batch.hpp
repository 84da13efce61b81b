// A batch for the hub: records that a standby's sessions left for the keeper, hits, usage and audit rows, in the form of
// the wire.
//
// Owned by bgworker/hub_main.cpp, one at a time. Regime: pg, without a destructor. What a batch holds is taken out of
// shared memory, and is settled, or given back, in parts: the hub takes records in their order. If the process ends, its
// successor finds the cache records (CacheWrites::recover), usage is given back, and hits are lost, as a keeper loses them.
#pragma once

#include "bgworker/hub_records.hpp"
#include "bgworker/keeper_sql.hpp"
#include "src/pg/postgres.hpp"
#include "shmem/segment.hpp"

namespace steadytext::worker {

class HubBatch {
public:
    // Once, before anything else.
    void begin(shmem::DatabaseRow *row);
    // Takes what is due. False: there is nothing.
    [[nodiscard]] bool fill(std::int64_t now_us);
    // The hub has dealt with the first records, and refused some of them; the rest is given back.
    void settle(const HubTaken &answer);
    void give_back() { settle({}); }

    [[nodiscard]] bool is_empty() const { return records_.count() == 0; }
    [[nodiscard]] bool has_hits() const { return hits_count_ > 0; }  // that were drained, for later batches
    [[nodiscard]] const HubRecords &records() const { return records_; }

private:
    static constexpr std::uint32_t kAuditAtOnce = 64;

    void take_cache_records(std::uint64_t epoch);
    void take_hits(std::int64_t now_us);
    void take_audit();
    void drain_hits(std::int64_t now_us);
    [[nodiscard]] bool add_cache_record(std::uint32_t index, std::uint64_t epoch);

    shmem::DatabaseRow *row_ = nullptr;
    // First audit rows, usage and hits, for which the hub always has room or none that would come by
    // waiting, then answers. So answers that find no room hold up nothing.
    HubRecords records_;
    TakenWrites taken_;
    shmem::KeyHits *hits_ = nullptr;  // drained and not settled
    std::uint32_t hits_count_ = 0, hits_room_ = 0;
    std::uint32_t hits_sent_ = 0;  // of these, the first so many are in this batch
    std::uint32_t usage_sent_ = 0;
    std::uint32_t audit_[kAuditAtOnce];  // indexes of the ring's records, which stay there until they are settled
    std::uint32_t audit_sent_ = 0;
};

// Whether there is something for the hub now; if not, lowers `due_us` to when there will be.
[[nodiscard]] bool has_news(const shmem::DatabaseRow &row, std::int64_t now_us, std::int64_t &due_us);

}  // namespace steadytext::worker
