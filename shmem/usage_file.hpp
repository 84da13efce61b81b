// The file in which usage that no table has yet waits for the next start. Written by the postmaster when it stops in good order,
// read and removed when it starts. Not written in between: after a crash it would bring back what a table has by then.
// Regime: pure, with errno for the caller's message.
#pragma once

#include "shmem/usage.hpp"

namespace steadytext::shmem {

[[nodiscard]] bool save_usage(const char *path, const Usage::Entry *entries, std::uint32_t count) noexcept;

// Fills `entries`, which has room for kEntries; 0 if there is no such file or it is damaged.
[[nodiscard]] std::uint32_t load_usage(const char *path, Usage::Entry *entries) noexcept;

}  // namespace steadytext::shmem
