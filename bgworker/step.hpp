// One step of a worker's work as a transaction of its own, with SPI connected and seen in pg_stat_activity; a security-restricted
// operation, in which nothing can go back to the superuser as whom the worker connected. What is set meanwhile, by a trigger, say, is undone
// before the commit: so no commit waits for a standby. The extension is not dropped meanwhile.
//
// Called by bgworker/keeper_main.cpp and src/queue/worker_main.cpp, outside a transaction. Regime: pg; no error passes.
#pragma once

#include "src/core/problem.hpp"

namespace steadytext::worker {

// False, with the problem, reported unless `quiet`, if it failed; then nothing of it happened. That a step fails where the extension has been
// dropped is nothing to report.
[[nodiscard]] bool run_step(const char *what, void (*step)(), core::Problem &problem, bool quiet = false);
[[nodiscard]] bool run_step(const char *what, void (*step)());

}  // namespace steadytext::worker
