// The size of this process in memory, as Linux reports it.
//
// Called by daemons, which report it in their `info`, and by the gateway and by connections to a hub, which bound their own. Regime: pure.
#pragma once

#include <unistd.h>

#include <cinttypes>
#include <cstdint>
#include <cstdio>

namespace steadytext::core {

struct ResidentMemory {
    std::uint64_t bytes = 0;
    std::uint64_t shared_bytes = 0;  // of them: of files, and of memory that processes share
    std::uint64_t data_bytes =
        0;  // what the process may write alone, touched or not: what RLIMIT_DATA limits, and the stack

    [[nodiscard]] std::uint64_t own_bytes() const noexcept { return bytes > shared_bytes ? bytes - shared_bytes : 0; }
};

// 0 if the system does not report it.
[[nodiscard]] inline ResidentMemory resident_memory() noexcept {
    std::FILE *statm = std::fopen("/proc/self/statm", "re");
    if (statm == nullptr)
        return {};
    std::uint64_t pages = 0, shared_pages = 0, data_pages = 0;
    const bool is_told =
        std::fscanf(statm, "%*u %" SCNu64 " %" SCNu64 " %*u %*u %" SCNu64, &pages, &shared_pages, &data_pages) == 3;
    (void)std::fclose(statm);
    const auto page = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
    return is_told ? ResidentMemory{pages * page, shared_pages * page, data_pages * page} : ResidentMemory{};
}

[[nodiscard]] inline std::uint64_t resident_bytes() noexcept { return resident_memory().bytes; }

}  // namespace steadytext::core
