// The databases of the server, from pg_database, for the launcher. Regime: pg.
//
// Called by the launcher, outside a transaction; drop_work() also by a keeper. It frees each row of
// shmem/database_table.hpp whose database is gone, with all data on its way to the tables of that database. It takes no
// lock that it would have to wait for.
#pragma once

#include "src/pg/postgres.hpp"
#include "shmem/segment.hpp"

#include <cstdint>

namespace steadytext::worker {

// Frees rows: once a minute, and once a second while more than half of them are taken.
void tidy_databases(const shmem::Segment &segment, std::int64_t now_us);

// Whether a worker can join the database: it exists and accepts connections. Reads pg_database at most ten times a
// second.
[[nodiscard]] bool can_join(const shmem::Segment &segment, Oid database, std::int64_t now_us);

// The owner of the database at the last look; InvalidOid: it was not there.
[[nodiscard]] Oid owner_of(Oid database);

// The databases that accepted connections at the last look; false if pg_database could not be read now.
[[nodiscard]] bool list_databases(const shmem::Segment &segment, std::int64_t now_us, const Oid *&databases,
                                  int &count);

// Drops all data that waits to be written in a database: the database is gone, or has no extension, so nobody will ever
// write it. The row has no work until a session asks for something again.
void drop_work(const shmem::Segment &segment, shmem::DatabaseRow &row, Oid database);

// Rises whenever a row became free while a database had none: the jobs of such databases have to be looked for.
[[nodiscard]] std::uint64_t rows_made_free();

}  // namespace steadytext::worker
