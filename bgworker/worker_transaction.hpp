// A step of a worker's work as a separate transaction, with SPI connected and shown in pg_stat_activity. It is a
// security-restricted operation, so nothing in it can become the superuser as which the worker connected. Settings
// changed in it, for example by a trigger, are undone before the commit, so no commit waits for a standby. The
// extension is not dropped meanwhile.
//
// Called by bgworker/keeper_main.cpp and by src/queue, outside a transaction. Regime: pg; no error leaves it.
#pragma once

#include "src/core/problem.hpp"

namespace steadytext::worker {

// False if the step failed, with the problem, which is also logged unless `quiet`; then nothing of the step happened. A
// failure because the extension has been dropped is not logged.
[[nodiscard]] bool run_transaction(const char *what, void (*step)(), core::Problem &problem, bool quiet = false);
[[nodiscard]] bool run_transaction(const char *what, void (*step)());

}  // namespace steadytext::worker
