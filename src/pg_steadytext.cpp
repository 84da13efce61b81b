// The extension's entry point and only composition root: settings, shared memory, workers.
//
// Called by PostgreSQL when the library is loaded. Regime: pg. If the library is loaded after server start, it only
// defines its functions, which then report what is missing.
#include "src/pg/compat.hpp"
#include "bgworker/workers.hpp"
#include "shmem/segment.hpp"
#include "src/functions/ahead_functions.hpp"
#include "src/guc.hpp"
#include "src/pg/extension_lock.hpp"
#include "src/pg/owner_guard.hpp"
#include "src/pg/text.hpp"
#include "src/planner/read_ahead.hpp"
#include "src/queue/callbacks.hpp"
#include "src/session/audit.hpp"
#include "src/session/explain.hpp"
#include "src/session/statement.hpp"

extern "C" {
PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);
}

void _PG_init(void) {
    if (!process_shared_preload_libraries_in_progress)
        return;
    steadytext::guc::define_gucs();
    if (IsBinaryUpgrade)
        return;
    steadytext::shmem::request_segment();
    steadytext::pg::bad_encoding_seen = steadytext::session::note_bad_encoding;
    steadytext::pg::install_owner_guard();
    steadytext::pg::install_extension_lock(steadytext::queue::end_callback_workers);
    steadytext::session::install_explain_hook();
    steadytext::planner::install_read_ahead(steadytext::functions::kAheadFunctions);
    steadytext::session::statement::install_hooks();
    steadytext::worker::register_workers();
}
