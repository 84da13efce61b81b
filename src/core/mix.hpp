// Spreads numbers that differ in few bits over all 64 bits. Not for secrets.
//
// Called where a place or a lot is chosen by number (balance.hpp, shmem/audit_ring.cpp). Regime: pure, noexcept.
#pragma once

#include <cstdint>

namespace steadytext::core {

inline constexpr std::uint64_t kGoldenRatio = 0x9E37'79B9'7F4A'7C15;  // of 2^64: multiples lie far apart

// The finalizer of splitmix64 (Steele, Lea and Flood 2014).
[[nodiscard]] constexpr std::uint64_t mix(std::uint64_t bits) noexcept {
    bits = (bits ^ bits >> 30) * 0xBF58'476D'1CE4'E5B9;
    bits = (bits ^ bits >> 27) * 0x94D0'49BB'1331'11EB;
    return bits ^ bits >> 31;
}

}  // namespace steadytext::core
