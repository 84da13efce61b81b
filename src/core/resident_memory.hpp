// The size of this process in memory, as Linux reports it.
//
// Called by daemons, which report it in their `info`. Regime: pure.
#pragma once

#include <unistd.h>

#include <cinttypes>
#include <cstdint>
#include <cstdio>

namespace steadytext::core {

// 0 if the system does not report it.
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
