// Registration of the static workers. Regime: pg.
#include "src/pg/compat.hpp"
#include "bgworker/workers.hpp"

extern "C" {
#include "postmaster/bgworker.h"
}

namespace steadytext::worker {

namespace {

constexpr int kRestartSeconds = 1;

// Starts at consistent state, so that hot standbys are served; "connected" without a database, so that it is seen in
// pg_stat_activity, takes part in barriers, and never stands in the way of DROP DATABASE.
void register_worker(const char *name, const char *function) {
    BackgroundWorker worker = {};
    worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
    worker.bgw_start_time = BgWorkerStart_ConsistentState;
    worker.bgw_restart_time = kRestartSeconds;
    snprintf(worker.bgw_name, sizeof worker.bgw_name, "%s", name);
    snprintf(worker.bgw_type, sizeof worker.bgw_type, "%s", name);
    snprintf(worker.bgw_library_name, sizeof worker.bgw_library_name, "pg_steadytext");
    snprintf(worker.bgw_function_name, sizeof worker.bgw_function_name, "%s", function);
    RegisterBackgroundWorker(&worker);
}

}  // namespace

void register_workers() {
    register_worker("pg_steadytext gateway", "steadytext_gateway_main");
    register_worker("pg_steadytext launcher", "steadytext_launcher_main");
}

}  // namespace steadytext::worker
