// A ring of byte strings for one producer and one consumer: it carries the pieces of a streamed answer to the session.
//
// The gateway puts, the session that owns the slot takes. The ring lies in a chunk of the payload pool (Slot::pieces).
// Regime: pure, noexcept; neither side ever waits here.
//
// A piece is its length and its bytes. Positions count the bytes that ever went through; only addressing takes them
// modulo the ring's size. So the bytes between the two positions are the content. The producer writes bytes and then
// moves `written_`; the consumer copies them and then moves `read_`. A producer that found no room raises `starved_`
// and looks again; a consumer that made room lowers it. These four accesses are sequentially consistent, so at least
// one of the two sees the other, and no room goes unnoticed.
#pragma once

#include "shmem/payload_pool.hpp"

#include <cstring>
#include <string_view>

namespace steadytext::shmem {

class PieceRing {
public:
    static constexpr std::size_t kMaxPieceBytes = 1024;

    // Constructs the ring in memory of PayloadPool::kChunkBytes. Called by the session, before the gateway can see the
    // memory.
    static PieceRing *place(void *chunk) noexcept;

    // Producer. False if there is no room now: then producer_waits() will be true once there is room. A piece has at
    // most kMaxPieceBytes.
    [[nodiscard]] bool put(std::string_view piece) noexcept;

    // Consumer. Copies the oldest piece to `target`, which has room for kMaxPieceBytes; false if there is none.
    [[nodiscard]] bool take(char *target, std::size_t &bytes) noexcept;
    // Consumer, after a take(). True if the producer has found no room since the last call, and waits to be told.
    [[nodiscard]] bool producer_waits() noexcept { return starved_.exchange(false); }

private:
    using Length = std::uint32_t;
    static constexpr std::size_t kBytes = PayloadPool::kChunkBytes - 2 * kCacheLine;

    PieceRing() = default;
    [[nodiscard]] bool has_room(std::uint64_t written, std::size_t bytes) const noexcept {
        return written + bytes - read_.load() <= kBytes;  // pairs with the store in take()
    }
    void copy_in(std::uint64_t position, const void *from, std::size_t bytes) noexcept;
    void copy_out(std::uint64_t position, void *to, std::size_t bytes) const noexcept;

    alignas(kCacheLine) std::atomic<std::uint64_t> written_{0};  // by the producer
    std::atomic<bool> starved_{false};
    alignas(kCacheLine) std::atomic<std::uint64_t> read_{0};  // by the consumer
    alignas(kCacheLine) char bytes_[kBytes];
};

static_assert(std::atomic<bool>::is_always_lock_free);
static_assert(sizeof(PieceRing) <= PayloadPool::kChunkBytes);

}  // namespace steadytext::shmem
