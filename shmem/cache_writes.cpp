// Finds free records and moves records from state to state: see cache_writes.hpp. Regime: pure, noexcept.
#include "shmem/cache_writes.hpp"

#include <algorithm>
#include <new>

namespace steadytext::shmem {

namespace {

constexpr std::uint32_t kLooks = 64;  // records tried before giving up: the table is nearly full then

// Every record holds at least a chunk of the pool.
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
        std::uint64_t expected = word(State::Free);
        if (!record.word.compare_exchange_strong(expected, word(State::Filling), std::memory_order_acquire))
            continue;
        if (!pool().store(text, record.payload)) {
            record.word.store(word(State::Free), std::memory_order_release);
            return false;
        }
        record.attempts = 0;
        record.epoch = epoch;
        record.word.store(word(State::Ready, database), std::memory_order_release);
        return true;
    }
    return false;
}

bool CacheWrites::take(std::uint32_t database, std::uint32_t &index) noexcept {
    for (; index < record_count_; index++) {
        std::uint64_t expected = word(State::Ready, database);
        std::atomic<std::uint64_t> &record = records_[index].word;
        if (record.load(std::memory_order_relaxed) == expected &&
            record.compare_exchange_strong(expected, word(State::Taken, database), std::memory_order_acquire))
            return true;
    }
    return false;
}

void CacheWrites::finish(std::uint32_t index) noexcept {
    pool().free(records_[index].payload);
    records_[index].word.store(word(State::Free), std::memory_order_release);  // pairs with the acquire in put()
}

void CacheWrites::put_back(std::uint32_t database, std::uint32_t index) noexcept {
    records_[index].word.store(word(State::Ready, database), std::memory_order_release);
}

std::uint32_t CacheWrites::give_back(std::uint32_t database, std::uint32_t index) noexcept {
    const std::uint32_t attempts = ++records_[index].attempts;
    put_back(database, index);
    return attempts;
}

void CacheWrites::recover(std::uint32_t database) noexcept {
    for (std::uint32_t i = 0; i < record_count_; i++)
        if (records_[i].word.load(std::memory_order_acquire) == word(State::Taken, database))
            (void)give_back(database, i);
}

}  // namespace steadytext::shmem
