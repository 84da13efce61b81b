// A batch for the hub of an independent node: new answers and hits, which sessions and the keeper left for it (shmem/hub_links.hpp).
//
// Owned by bgworker/node_main.cpp, one at a time. Regime: pg, without a destructor. The hub takes records in their order; those that it has not
// dealt with are given back. If the process ends, its successor finds them (CacheWrites::recover).
#pragma once

#include "bgworker/hub_records.hpp"
#include "bgworker/keeper_sql.hpp"
#include "shmem/hub_links.hpp"
#include "src/pg/postgres.hpp"
#include "shmem/segment.hpp"

namespace steadytext::worker {

class NodeBatch {
public:
    // Once, before anything else.
    void begin(shmem::DatabaseRow *row, shmem::HubLink *link);
    // Takes what there is. False: nothing.
    [[nodiscard]] bool fill();
    // The hub has dealt with the first records, and refused some of them.
    void settle(const HubTaken &answer);
    void give_back() { settle({}); }

    [[nodiscard]] bool is_empty() const { return records_.count() == 0; }
    [[nodiscard]] const HubRecords &records() const { return records_; }

private:
    [[nodiscard]] bool add(std::uint32_t index, std::uint64_t epoch);

    shmem::DatabaseRow *row_ = nullptr;
    shmem::HubLink *link_ = nullptr;
    HubRecords records_;
    TakenWrites taken_;
    std::uint32_t
        ends_[TakenWrites::kMost];  // how many records there are up to each that was taken: hits come in packs
};

// Hits of many keys in one record. Their scopes are in the table, whose rows these are.
inline constexpr std::size_t kPackBytes = 3500;
// Called by the keeper within a transaction: the hub hears of hits that it has folded in.
void tell_hub_of_hits(Datum keys, Datum hits, Datum times);
// This database is an independent node.
[[nodiscard]] bool is_node(const shmem::DatabaseRow &row);

}  // namespace steadytext::worker
