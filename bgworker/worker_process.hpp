// What gateway and launcher have in common as PostgreSQL processes: signals, registration in shared memory, the latch.
//
// Regime: pg.
#pragma once

#include "src/pg/compat.hpp"
#include "shmem/segment.hpp"

namespace steadytext::worker {

// The directory of the extension's files inside the data directory, which is every worker's working directory: so a
// relative path keeps the socket's name within the 107 bytes a Unix socket may have.
inline constexpr const char *kDirectory = "pg_steadytext";
inline constexpr const char *kEmbeddedSocket = "pg_steadytext/steadytextd.sock";

// Creates kDirectory, mode 0700, if it is not there.
void make_directory();

// Installs signal handlers, unblocks signals, joins without a database, and makes `state` name this process until it exits.
void begin(shmem::WorkerState &state);

// The same for a keeper, which joins its row's database as steadytext_owner with settings of its own; false if there is no such role,
// or the row has a keeper already. A database that is gone ends the process, and what was to be written for it is dropped.
[[nodiscard]] bool begin_keeper(shmem::DatabaseRow &row);

// The same for a worker of one database that has no row of its own; false if there is no such role. A database that is gone ends the
// process.
[[nodiscard]] bool begin_in(Oid database);

// Takes part in barriers and rereads the configuration; true if it was reread.
bool serve_interrupts();

[[nodiscard]] bool shutdown_requested();

// Leaves so that the postmaster restarts the worker, unless it is shutting down itself.
[[noreturn]] void leave();

}  // namespace steadytext::worker
