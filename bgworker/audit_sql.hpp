// A keeper's writes to steadytext_audit_log. Called by bgworker/keeper_main.cpp, inside a transaction with SPI
// connected. Regime: pg: an ERROR ends the transaction, and so writes none of its rows.
#pragma once

#include "src/pg/postgres.hpp"
#include "shmem/audit_ring.hpp"

#include <span>

namespace steadytext::worker {

// Records of a database that are being written.
struct TakenAudit {
    std::uint32_t indexes[shmem::AuditRing::kRecords];
    std::uint32_t count = 0;
};

// Writes the records; none if this database has no such table.
void write_audit(const shmem::AuditRing &ring, std::span<const std::uint32_t> indexes);

// Writes that so many rows are missing (event_type 'audit_dropped').
void write_audit_missing(std::uint32_t count);

}  // namespace steadytext::worker
