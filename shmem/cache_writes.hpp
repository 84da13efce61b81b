// Answers on their way to the table cache: sessions put them here, a keeper writes them in batches.
//
// Sessions never write tables. So answers are also given and remembered in read-only transactions, in parallel workers
// and in transactions that are rolled back. Best effort: a record that finds no room is not written; the caller counts
// it. Regime: pure, noexcept.
//
// A record goes Free -> Filling -> Ready -> Taken -> Free. Each step is a compare-and-swap or a store by the process
// that holds the record: a session fills it, the database's only keeper takes it. A keeper that failed gives the record
// back (Taken -> Ready).
#pragma once

#include "shmem/payload_pool.hpp"

#include <string_view>

namespace steadytext::shmem {

class CacheWrites {
public:
    [[nodiscard]] static std::size_t bytes_needed(std::size_t payload_bytes) noexcept;
    // Once, before any other process sees the memory.
    static CacheWrites *place(void *memory, std::size_t payload_bytes) noexcept;

    // False when there is no room. `epoch` is the database's (cache_epochs.hpp) before the answer was computed.
    [[nodiscard]] bool put(std::uint32_t database, std::uint64_t epoch, std::string_view record) noexcept;

    // Keeper. The next record of the database at or after `index`, which is now its own; false if there is none.
    [[nodiscard]] bool take(std::uint32_t database, std::uint32_t &index) noexcept;
    [[nodiscard]] std::size_t size(std::uint32_t index) const noexcept { return records_[index].payload.bytes; }
    [[nodiscard]] bool copy_out(std::uint32_t index, char *target) const noexcept {
        return pool().copy_out(records_[index].payload, target);
    }
    [[nodiscard]] std::uint64_t epoch(std::uint32_t index) const noexcept { return records_[index].epoch; }
    void finish(std::uint32_t index) noexcept;
    // The keeper did not try the record.
    void put_back(std::uint32_t database, std::uint32_t index) noexcept;
    // The keeper tried the record and failed. Returns how often this has happened to it.
    std::uint32_t give_back(std::uint32_t database, std::uint32_t index) noexcept;
    // A keeper calls this first: records that an earlier keeper of this database had taken become ready again.
    void recover(std::uint32_t database) noexcept;

    [[nodiscard]] std::uint32_t capacity() const noexcept { return record_count_; }
    // Records of other nodes get half of the memory, and leave the rest to this node's sessions: while more than half is in
    // use they wait, and a record that is larger than half never fits.
    [[nodiscard]] bool is_crowded() const noexcept { return pool().chunks_in_use() > pool().chunk_count() / 2; }
    [[nodiscard]] bool fits_beside_sessions(std::size_t bytes) const noexcept {
        return bytes <= std::size_t{pool().chunk_count() / 2} * PayloadPool::kChunkBytes;
    }

private:
    enum class State : std::uint32_t { Free, Filling, Ready, Taken };
    // {database:32 | state:32}: both in a single word, so that a keeper takes a ready record of its database in one
    // step.
    static constexpr std::uint64_t word(State state, std::uint32_t database = 0) {
        return std::uint64_t{database} << 32 | static_cast<std::uint32_t>(state);
    }
    struct alignas(kCacheLine) Record {
        std::atomic<std::uint64_t> word{
            CacheWrites::word(State::Free)};  // release into Ready: pairs with the acquire in take()
        std::uint32_t attempts = 0;
        std::uint64_t epoch = 0;
        Chain payload;
    };

    CacheWrites(std::uint32_t record_count, std::size_t pool_offset) noexcept
        : record_count_(record_count), pool_offset_(pool_offset) {}

    [[nodiscard]] PayloadPool &pool() const noexcept {
        return *reinterpret_cast<PayloadPool *>(reinterpret_cast<char *>(const_cast<CacheWrites *>(this)) +
                                                pool_offset_);
    }

    std::uint32_t record_count_;
    std::size_t pool_offset_;
    std::atomic<std::uint32_t> next_{0};  // where the next put() looks first
    alignas(kCacheLine) Record records_[1];
};

}  // namespace steadytext::shmem
