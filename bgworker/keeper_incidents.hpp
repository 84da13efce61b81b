// The keeper's part in incidents: the launcher's events become rows of steadytext_incidents and notifications. Called
// by bgworker/keeper_main.cpp. Regime: pg.
#pragma once

#include "src/pg/postgres.hpp"
#include "shmem/segment.hpp"

namespace steadytext::worker {

[[nodiscard]] inline bool has_incidents(const shmem::DatabaseRow &row) {
    return row.incidents_seen.load() < shmem::segment().incidents->last();
}

// Writes the events that this database has not seen yet, inside a transaction with SPI connected; returns the number of
// the last event.
[[nodiscard]] std::uint64_t write_incidents(const shmem::DatabaseRow &row);

}  // namespace steadytext::worker
