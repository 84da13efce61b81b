// Calls in a copy of a database (CREATE DATABASE ... TEMPLATE): they are the original's, which carries them out.
//
// _steadytext.queue_home names the database that the queue is of, and the server by its system identifier. In a copy the
// first queue worker finds another database of the same server there: it holds what was copied, as a restore does
// (src/functions/queue_rows.cpp), and writes its own once nothing copied is left: a row that somebody has
// locked is held later. After pg_upgrade the server is another one, and the calls go on. A copy of the whole server (pg_basebackup) is as its original, so calls go on there, too.
//
// Called by src/queue/worker_steps.cpp before anything else and, until it returns true, before jobs are claimed, within
// a transaction with SPI connected. Regime: pg.
#pragma once

namespace steadytext::queue {

// True: nothing copied is left.
[[nodiscard]] bool hold_copied();

}  // namespace steadytext::queue
