// Shared by all workers as PostgreSQL processes: signals, registration in shared memory, settings.
//
// Regime: pg. A worker without a database (gateway, launcher) only waits for its latch, and ends at the next round of
// its loop. A worker of a database ends wherever it is, like a session: SIGTERM is die(), which ends a lock wait, a
// wait for a standby or a statement at the next CHECK_FOR_INTERRUPTS(). Its exit callbacks and its successor put
// unfinished work in order.
#pragma once

#include "src/pg/compat.hpp"
#include "shmem/segment.hpp"

namespace steadytext::worker {

// The directory of the extension's files inside the data directory, which is every worker's working directory. A
// relative path keeps the socket's name within the 107 bytes of a Unix socket's path.
inline constexpr const char *kDirectory = "pg_steadytext";
inline constexpr const char *kEmbeddedSocket = "pg_steadytext/steadytextd.sock";

// Creates kDirectory, mode 0700, if it is not there.
void make_directory();

// Installs signal handlers, unblocks signals, joins without a database, and puts this process into `state` until it
// exits.
void begin(shmem::WorkerState &state);

// Begins a worker of a database, as the role steadytext_owner and with its own settings. False: the extension is not
// there, and only the catalogs of the database were read. If the database is gone, the process ends.
[[nodiscard]] bool begin_in(Oid database);

// Begins a worker that is a session of the role, with only the role's rights. If the role may not connect, the process
// ends.
void begin_as(Oid database, Oid role);

// Makes this process the keeper in the row until it exits; false if the row has a keeper already.
[[nodiscard]] bool become_keeper(shmem::DatabaseRow &row);

// SIGTERM has come, and the next CHECK_FOR_INTERRUPTS() ends this worker of a database.
[[nodiscard]] bool told_to_end();

// Serves barriers and rereads the configuration; true if it was reread.
bool serve_interrupts();

[[nodiscard]] bool shutdown_requested();

// Leaves so that the postmaster restarts the worker, unless it is shutting down.
[[noreturn]] void leave();

}  // namespace steadytext::worker
