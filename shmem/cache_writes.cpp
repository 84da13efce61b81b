// Finding a free record, and giving records from hand to hand: see cache_writes.hpp. Regime: pure, noexcept.
#include "shmem/cache_writes.hpp"

#include <algorithm>
#include <new>

namespace steadytext::shmem {

namespace {

constexpr std::uint32_t kLooks = 64;  // records tried before giving up: the table is nearly full then

// Every record has at least one chunk of the pool.
std::uint32_t records_for(std::size_t payload_bytes) {
    return static_cast<std::uint32_t>(std::max<std::size_t>(payload_bytes / PayloadPool::kChunkBytes, 1));
}

}  // namespace

std::size_t CacheWrites::bytes_needed(std::size_t payload_bytes) noexcept {
    return round_up(sizeof(CacheWrites) + (records_for(payload_bytes) - 1) * sizeof(Record)) +
           PayloadPool::bytes_needed(payload_bytes);
}

CacheWrites *CacheWrites::place(void *memory, std::size_t payload_bytes) noexcept {
    const std::uint32_t count = records_for(payload_bytes);
    const std::size_t pool_offset = round_up(sizeof(CacheWrites) + (count - 1) * sizeof(Record));
    auto *writes = new (memory) CacheWrites(count, pool_offset);
    for (std::uint32_t i = 1; i < count; i++)
        new (&writes->records_[i]) Record;
    PayloadPool::place(static_cast<char *>(memory) + pool_offset, payload_bytes);
    return writes;
}

bool CacheWrites::put(std::uint32_t database, std::uint64_t epoch, std::string_view text) noexcept {
    const std::uint32_t start = next_.fetch_add(1, std::memory_order_relaxed);
    for (std::uint32_t look = 0; look < std::min(kLooks, record_count_); look++) {
        Record &record = records_[(start + look) % record_count_];
        State expected = State::Free;
        if (!record.state.compare_exchange_strong(expected, State::Filling, std::memory_order_acquire))
            continue;
        if (!pool().store(text, record.payload)) {
            record.state.store(State::Free, std::memory_order_release);
            return false;
        }
        record.database = database;
        record.attempts = 0;
        record.epoch = epoch;
        record.state.store(State::Ready, std::memory_order_release);
        return true;
    }
    return false;
}

bool CacheWrites::take(std::uint32_t database, std::uint32_t &index) noexcept {
    for (; index < record_count_; index++) {
        Record &record = records_[index];
        // A record that is Ready stays so until this database's keeper takes it, so its database can be read.
        if (record.state.load(std::memory_order_acquire) != State::Ready || record.database != database)
            continue;
        record.state.store(State::Taken, std::memory_order_relaxed);
        return true;
    }
    return false;
}

void CacheWrites::finish(std::uint32_t index) noexcept {
    pool().free(records_[index].payload);
    records_[index].state.store(State::Free, std::memory_order_release);  // pairs with the acquire in put()
}

std::uint32_t CacheWrites::give_back(std::uint32_t index) noexcept {
    const std::uint32_t attempts = ++records_[index].attempts;
    records_[index].state.store(State::Ready, std::memory_order_release);
    return attempts;
}

void CacheWrites::recover(std::uint32_t database) noexcept {
    for (std::uint32_t i = 0; i < record_count_; i++)
        if (records_[i].state.load(std::memory_order_acquire) == State::Taken && records_[i].database == database)
            (void)give_back(i);
}

}  // namespace steadytext::shmem
