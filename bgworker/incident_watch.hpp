// Watches for incidents and responds to them; src/core/incident.hpp defines them. Called by the launcher. Regime: pg.
//
// The launcher watches, as it always runs. It has no database, so keepers write down the events that it posts to shared
// memory (bgworker/keeper_incidents.*). Responses, each with a switch (steadytext.incident_*):
//
//   daemon_down               the embedded daemon, if its process is there and answered before, is restarted
//   breaker_flapping          the daemon rests, as if drained, while another daemon is ready
//   latency, queue_stuck      keepers refresh frecency a quarter as often
//   daemon_down, error_rate, queue_stuck   queue workers begin no asynchronous calls of low priority
//
// Responses that last as long as an incident are derived anew at every look, from the open incidents.
#pragma once

#include "shmem/segment.hpp"

namespace steadytext::worker {

// Called at every round of the launcher; looks once or twice a second.
void watch_incidents(const shmem::Segment &segment, std::int64_t now_us);

}  // namespace steadytext::worker
