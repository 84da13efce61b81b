// What sessions of a node ask of the hub (shmem/hub_asks.hpp), many in one statement.
//
// Owned by bgworker/node_main.cpp. Regime: pg.
#pragma once

#include "bgworker/hub_connection.hpp"

namespace steadytext::worker {

// What an earlier worker had taken.
void begin_questions();
// Sends what is asked, and which computations are over. False: there is nothing. `connection` is its number: with another one the hub has
// forgotten who computes.
[[nodiscard]] bool ask_questions(HubConnection &hub, std::uint64_t connection);
// Gives the answers to the sessions; false if they have another form.
[[nodiscard]] bool heed_questions(const HubConnection &hub, std::uint64_t connection);
// There will be no answer.
void lose_questions();
// The worker leaves: nobody waits for it.
void end_questions();

// Between two looks at the hub's number of clears.
[[nodiscard]] std::int64_t watch_interval_us();

}  // namespace steadytext::worker
