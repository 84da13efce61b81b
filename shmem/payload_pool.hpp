// Memory for requests and replies of any size: fixed chunks in shared memory, linked into chains.
//
// Called by sessions, which allocate a chain for a request, and by the gateway, which allocates a chain for a
// reply. The side that frees the slot frees its chains.
// Regime: pure.
//
// The free list is a stack (Treiber, 1986) of chunk indexes. Its head is a 64-bit word {tag:32 | index:32}. Every
// push and pop raises the tag, so a compare-and-swap succeeds only if nothing happened in between (no ABA within
// 2^32 operations of a single stopped process). So a whole chain is taken with a single compare-and-swap: if the
// head word is still the word first read, every link walked from it was stable.
//
// Allocation is all or nothing and never waits: a full pool answers false.
#pragma once

#include "shmem/atomic.hpp"

#include <cstring>
#include <string_view>

namespace steadytext::shmem {

// A payload of `bytes` bytes beginning in chunk `first`. Plain data; the owner of the slot owns the chain.
struct Chain {
    std::uint32_t first = kNone;
    std::uint32_t bytes = 0;

    static constexpr std::uint32_t kNone = UINT32_MAX;
};

class PayloadPool {
public:
    static constexpr std::size_t kChunkBytes = 4096;

    [[nodiscard]] static std::size_t bytes_needed(std::size_t payload_bytes) noexcept;
    // Once, before any other process sees the memory.
    static PayloadPool *place(void *memory, std::size_t payload_bytes) noexcept;

    // Takes room for `bytes` (0 is a chain without chunks); false when the pool cannot give all of it.
    [[nodiscard]] bool allocate(std::size_t bytes, Chain &chain) noexcept;
    // Copies `text` into a new chain; false when the pool cannot give the room.
    [[nodiscard]] bool store(std::string_view text, Chain &chain) noexcept;
    // Gives the chain back and empties the handle. Freeing an empty handle does nothing.
    void free(Chain &chain) noexcept;

    // Copies the first `chain.bytes` bytes out. False if the chain is damaged (an index or length out of bounds).
    [[nodiscard]] bool copy_out(const Chain &chain, char *target) const noexcept;

    // The memory of a chain of a single chunk, which both sides use in place; null for a longer chain.
    [[nodiscard]] void *memory_of(const Chain &chain) noexcept {
        return chain.first < chunk_count_ && chain.bytes <= kChunkBytes ? chunk(chain.first) : nullptr;
    }

    [[nodiscard]] std::uint32_t chunk_count() const noexcept { return chunk_count_; }
    // Chunks in use; exact when nothing runs, otherwise a moment's view. seq_cst: see waiting_line.hpp.
    [[nodiscard]] std::uint32_t chunks_in_use() const noexcept { return in_use_.load(); }

    [[nodiscard]] static constexpr std::uint32_t chunks_for(std::size_t bytes) noexcept {
        return static_cast<std::uint32_t>((bytes + kChunkBytes - 1) / kChunkBytes);
    }

private:
    explicit PayloadPool(std::uint32_t chunk_count) noexcept;

    [[nodiscard]] std::atomic<std::uint32_t> *links() noexcept;
    [[nodiscard]] const std::atomic<std::uint32_t> *links() const noexcept;
    [[nodiscard]] char *chunk(std::uint32_t index) noexcept;
    [[nodiscard]] const char *chunk(std::uint32_t index) const noexcept;

    alignas(kCacheLine) std::atomic<std::uint64_t> head_;  // {tag:32 | index:32}
    alignas(kCacheLine) std::atomic<std::uint32_t> in_use_{0};
    std::uint32_t chunk_count_;
};

}  // namespace steadytext::shmem
