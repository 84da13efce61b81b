// Which databases there are, as pg_database says: the launcher's view of them. Regime: pg.
//
// Called by the launcher, outside a transaction; drop_work() also by a keeper. A row of shmem/database_table.hpp whose database is gone is freed here, with
// all that was on its way to its tables. It takes no lock that it would have to wait for.
#pragma once

#include "src/pg/postgres.hpp"
#include "shmem/segment.hpp"

#include <cstdint>

namespace steadytext::worker {

// Frees rows: once a minute, and once a second while more than half of them are taken.
void tidy_databases(const shmem::Segment &segment, std::int64_t now_us);

// Whether a worker can join the database: it is there and accepts connections. Looks at pg_database at most ten times a second.
[[nodiscard]] bool can_join(const shmem::Segment &segment, Oid database, std::int64_t now_us);

// Who owned the database when last looked; InvalidOid: it was not there.
[[nodiscard]] Oid owner_of(Oid database);

// The databases that accepted connections when last looked at; false if pg_database could not be read now.
[[nodiscard]] bool list_databases(const shmem::Segment &segment, std::int64_t now_us, const Oid *&databases, int &count);

// Drops all that waits to be written in a database: it is gone, or has no extension, so nobody ever will write it. Until its sessions ask
// for something again its row has no work.
void drop_work(const shmem::Segment &segment, shmem::DatabaseRow &row, Oid database);

// Counts up whenever a row became free while databases had none: their jobs have to be looked for.
[[nodiscard]] std::uint64_t rows_made_free();

}  // namespace steadytext::worker
