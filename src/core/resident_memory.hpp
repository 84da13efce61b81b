// How much of this process is in memory, as Linux tells it.
//
// Called by daemons, which tell it in their `info`. Regime: pure.
#pragma once

#include <unistd.h>

#include <cinttypes>
#include <cstdint>
#include <cstdio>

namespace steadytext::core {

// 0 where nobody tells.
[[nodiscard]] inline std::uint64_t resident_bytes() noexcept {
    std::FILE *statm = std::fopen("/proc/self/statm", "re");
    if (statm == nullptr)
        return 0;
    std::uint64_t pages = 0;
    const bool is_told = std::fscanf(statm, "%*u %" SCNu64, &pages) == 1;
    (void)std::fclose(statm);
    return is_told ? pages * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE)) : 0;
}

}  // namespace steadytext::core
