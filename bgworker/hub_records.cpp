// Writes the array and the statement, reads the answer: see hub_records.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "bgworker/hub_records.hpp"
#include "shmem/segment.hpp"
#include "src/core/foreign_record.hpp"

extern "C" {
#include "catalog/pg_type.h"
#include "libpq/pqformat.h"
#include "utils/memutils.h"
}

namespace steadytext::worker {

namespace {

// Dimensions, whether there are nulls, type of the elements, length, lower bound.
constexpr int kHeader = 5 * sizeof(std::uint32_t);
constexpr int kLength = 3 * sizeof(std::uint32_t);  // where it is

}  // namespace

void HubRecords::begin() {
    MemoryContext caller = MemoryContextSwitchTo(TopMemoryContext);
    initStringInfo(&array_);
    MemoryContextSwitchTo(caller);
}

void HubRecords::clear(std::int64_t clears) {
    resetStringInfo(&array_);
    for (const Oid each : {Oid{1}, Oid{0}, Oid{BYTEAOID}, Oid{0}, Oid{1}})
        pq_sendint32(&array_, each);
    count_ = 0;
    clears_ = clears;
}

void HubRecords::add(char kind, const char *bytes, std::size_t size) {
    pq_sendint32(&array_, static_cast<std::uint32_t>(size + 1));
    pq_sendbyte(&array_, static_cast<std::uint8_t>(kind));
    appendBinaryStringInfo(&array_, bytes, static_cast<int>(size));
    count_++;
}

void HubRecords::finish() {
    Assert(array_.len >= kHeader);
    const std::uint32_t count = pg_hton32(count_);
    memcpy(array_.data + kLength, &count, sizeof count);
    number_ = static_cast<std::int64_t>(shmem::segment().header->hub_batches.fetch_add(1) + 1);
}

void HubRecords::send(HubConnection &hub) const {
    const std::uint32_t format = pg_hton32(static_cast<std::uint32_t>(core::kForeignFormat));
    const std::uint64_t node = pg_hton64(shmem::segment().header->hub_node);
    const std::uint64_t number = pg_hton64(static_cast<std::uint64_t>(number_));
    const std::uint64_t clears = pg_hton64(static_cast<std::uint64_t>(clears_));
    const HubConnection::Parameter parameters[] = {{INT4OID, reinterpret_cast<const char *>(&format), sizeof format},
                                                   {INT8OID, reinterpret_cast<const char *>(&node), sizeof node},
                                                   {INT8OID, reinterpret_cast<const char *>(&number), sizeof number},
                                                   {INT8OID, reinterpret_cast<const char *>(&clears), sizeof clears},
                                                   {BYTEAARRAYOID, array_.data, array_.len}};
    hub.ask("SELECT taken, refused FROM _steadytext.hub_put($1, $2, $3, $4, $5)", parameters, 5);
}

bool HubRecords::read_answer(const HubConnection &hub, HubTaken &answer) {
    std::int32_t taken, refused;
    if (hub.rows() != 1 || hub.columns() != 2 || !hub.read(0, 0, taken) || !hub.read(0, 1, refused) || refused < 0 ||
        refused > taken)
        return false;
    answer = {static_cast<std::uint32_t>(taken), static_cast<std::uint32_t>(refused)};
    return true;
}

}  // namespace steadytext::worker
