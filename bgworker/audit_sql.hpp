// What a keeper writes to steadytext_audit_log. Called by bgworker/keeper_main.cpp, inside a transaction with SPI connected.
// Regime: pg: an ERROR ends the transaction, and with it the batch.
#pragma once

#include "src/pg/postgres.hpp"
#include "shmem/audit_ring.hpp"

namespace steadytext::worker {

// Records of one database that are being written.
struct TakenAudit {
    std::uint32_t indexes[shmem::AuditRing::kRecords];
    std::uint32_t count = 0;
};

// Writes the records; none if this database has no such table.
void write_audit(const shmem::AuditRing &ring, const TakenAudit &taken);

}  // namespace steadytext::worker
