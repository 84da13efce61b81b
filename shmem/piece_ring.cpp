// Putting and taking: see piece_ring.hpp. Regime: pure.
#include "shmem/piece_ring.hpp"

#include <algorithm>
#include <new>
#include <type_traits>

namespace steadytext::shmem {

static_assert(std::is_standard_layout_v<PieceRing> && std::is_trivially_destructible_v<PieceRing>);

PieceRing *PieceRing::place(void *chunk) noexcept { return new (chunk) PieceRing; }

bool PieceRing::put(std::string_view piece) noexcept {
    const std::uint64_t written = written_.load(std::memory_order_relaxed);
    const auto length = static_cast<Length>(piece.size());
    const std::size_t needed = sizeof length + piece.size();
    if (!has_room(written, needed)) {
        starved_.store(true);
        if (!has_room(written, needed))
            return false;
    }
    copy_in(written, &length, sizeof length);
    copy_in(written + sizeof length, piece.data(), piece.size());
    written_.store(written + needed, std::memory_order_release);  // pairs with take()
    return true;
}

bool PieceRing::take(char *target, std::size_t &bytes) noexcept {
    const std::uint64_t read = read_.load(std::memory_order_relaxed);
    const std::uint64_t there = written_.load(std::memory_order_acquire) - read;  // pairs with put()
    Length length;
    if (there < sizeof length)
        return false;
    copy_out(read, &length, sizeof length);
    if (length > kMaxPieceBytes || sizeof length + length > there)
        return false;  // damaged: the ring gives no more pieces
    copy_out(read + sizeof length, target, length);
    bytes = length;
    read_.store(read + sizeof length + length);  // pairs with has_room()
    return true;
}

void PieceRing::copy_in(std::uint64_t position, const void *from, std::size_t bytes) noexcept {
    const std::size_t at = position % kBytes;
    const std::size_t until_end = std::min(bytes, kBytes - at);
    std::memcpy(bytes_ + at, from, until_end);
    std::memcpy(bytes_, static_cast<const char *>(from) + until_end, bytes - until_end);
}

void PieceRing::copy_out(std::uint64_t position, void *to, std::size_t bytes) const noexcept {
    const std::size_t at = position % kBytes;
    const std::size_t until_end = std::min(bytes, kBytes - at);
    std::memcpy(to, bytes_ + at, until_end);
    std::memcpy(static_cast<char *>(to) + until_end, bytes_, bytes - until_end);
}

}  // namespace steadytext::shmem
