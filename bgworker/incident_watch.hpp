// Watches for incidents, and answers them: see src/core/incident.hpp for what they are. Called by the launcher. Regime: pg.
//
// The launcher watches, since it always runs; it has no database, so keepers write down what it posts to shared memory
// (bgworker/keeper_incidents.*). Responses, each with a switch (steadytext.incident_*):
//
//   daemon_down               the embedded daemon, if its process is there and answered before, is restarted
//   breaker_flapping          the daemon rests, as if drained, while another one is ready
//   latency, queue_stuck      keepers refresh frecency a quarter as often
//   daemon_down, error_rate, queue_stuck   queue workers begin no asynchronous calls of low priority
//
// What lasts as long as an incident is worked out anew at every look, from what is open now.
#pragma once

#include "shmem/segment.hpp"

namespace steadytext::worker {

// Once a second, more or less.
void watch_incidents(const shmem::Segment &segment, std::int64_t now_us);

}  // namespace steadytext::worker
