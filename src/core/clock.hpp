// The two clocks of the project. Deadlines, limits and breakers only use the monotonic clock: it never jumps. Regime:
// pure.
#pragma once

#include <cstdint>
#include <ctime>

namespace steadytext::core {

[[nodiscard]] inline std::int64_t monotonic_us() noexcept {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return std::int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1'000;
}

// Microseconds since 1970, for people and for tables.
[[nodiscard]] inline std::int64_t unix_us() noexcept {
    timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return std::int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1'000;
}

}  // namespace steadytext::core
