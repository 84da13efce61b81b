// The file that keeps usage which no table has yet until the next start. The postmaster writes it when it stops in good
// order, and reads and removes it when it starts. Nobody writes it in between: after a crash it would bring back usage
// that a table already has. Regime: pure, with errno for the caller's message.
#pragma once

#include "shmem/usage.hpp"

namespace steadytext::shmem {

[[nodiscard]] bool save_usage(const char *path, const Usage::Entry *entries, std::uint32_t count) noexcept;

// Fills `entries`, which has room for kEntries; 0 if there is no such file or it is damaged.
[[nodiscard]] std::uint32_t load_usage(const char *path, Usage::Entry *entries) noexcept;

}  // namespace steadytext::shmem
