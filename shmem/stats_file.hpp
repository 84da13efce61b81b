// The counters on disk, so that they go on after a restart of the server or of its shared memory.
//
// Written by the launcher every few seconds and by the postmaster when it stops, read by the postmaster when it makes
// the segment. Regime: pure (POSIX only, no exception). A file that is damaged, cut short, or of a library with other
// counters is ignored: the counters then begin at zero.
#pragma once

#include "shmem/call_stats.hpp"
#include "shmem/counters.hpp"

namespace steadytext::shmem {

struct SavedStats {
    CallTotals calls;
    std::array<std::uint64_t, kCounterCount> counters{};
};

[[nodiscard]] SavedStats take_stats(const CallStats &calls, const Counters &counters) noexcept;
void restore_stats(const SavedStats &saved, CallStats &calls, Counters &counters) noexcept;

// Replaces the file in a single step: a reader, or a crash, finds either the old file or the new file. False: see
// errno.
[[nodiscard]] bool save_stats(const char *path, const SavedStats &saved) noexcept;
[[nodiscard]] bool load_stats(const char *path, SavedStats &saved) noexcept;

}  // namespace steadytext::shmem
