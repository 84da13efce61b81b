// The keeper's part in usage: moves it from shared memory (shmem/usage.hpp) into steadytext_usage. Called by
// bgworker/keeper_main.cpp, and by bgworker/hub_batch.cpp, which sends it to a hub instead. Regime: pg.
//
// Taken usage is given back unless its transaction commits, however the keeper ends.
#pragma once

#include "src/pg/postgres.hpp"
#include "shmem/segment.hpp"

#include <span>

namespace steadytext::worker {

inline constexpr std::int64_t kUsageUs = 5'000'000;  // how long usage may wait

[[nodiscard]] inline bool usage_is_due(const shmem::DatabaseRow &row, std::int64_t now_us) {
    const std::int64_t since_us = row.usage_since_us.load();
    return since_us != 0 && now_us >= since_us + kUsageUs;
}

// Call once, before the other functions.
void begin_usage();

// Takes a batch; false if there is none.
[[nodiscard]] bool take_usage(shmem::DatabaseRow &row);
// Adds the batch to the table, inside a transaction with SPI connected.
void write_usage();
// The batch, for another way to write it.
[[nodiscard]] std::span<const shmem::Usage::Entry> taken_usage();
// Call afterwards: the first `written` of the batch are written, others are given back.
void settle_usage(std::uint32_t written);

}  // namespace steadytext::worker
