// What all workers have in common as PostgreSQL processes: signals, registration in shared memory, settings.
//
// Regime: pg. A worker without a database (gateway, launcher) waits for its latch only, and ends when it comes round its loop. A worker
// of one database ends wherever it is, as a session does: SIGTERM is die(), which takes it out of a lock wait, a wait for a standby or
// a statement at the next CHECK_FOR_INTERRUPTS(). What it leaves unfinished, its exit callbacks and its successor put in order.
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

// Begins a worker of one database, as the role steadytext_owner and with settings of its own. False: the extension is not there, and
// nothing of the database's was touched but its catalogs. A database that is gone ends the process.
[[nodiscard]] bool begin_in(Oid database);

// Begins a worker that is a session of the role, with its rights and no others. A role that may not connect ends the process.
void begin_as(Oid database, Oid role);

// Makes the row name this process as its keeper until it exits; false if it has a keeper already.
[[nodiscard]] bool become_keeper(shmem::DatabaseRow &row);

// SIGTERM has come, and the next CHECK_FOR_INTERRUPTS() ends this worker of one database.
[[nodiscard]] bool told_to_end();

// Takes part in barriers and rereads the configuration; true if it was reread.
bool serve_interrupts();

[[nodiscard]] bool shutdown_requested();

// Leaves so that the postmaster restarts the worker, unless it is shutting down itself.
[[noreturn]] void leave();

}  // namespace steadytext::worker
