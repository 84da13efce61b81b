// Room in shared memory for a request: a slot, payload memory for what it says, and the line of those who wait for it.
//
// Called by src/session/call.cpp and, for many at once, many_calls.cpp. Regime: pg, but nothing raises except wait_for(), which
// serves interrupts. shmem/waiting_line.hpp says whose turn it is.
#pragma once

#include "src/session/call.hpp"

namespace steadytext::session::room {

// What there was no room in.
enum class Lack : std::uint8_t { None, Slot, Memory };

// Claims a slot for the call and stores its request; without waiting, and whoever waits. Tells what is lacking, for the call's role.
[[nodiscard]] Lack claim(const Call &call, shmem::SlotId &id);
// The same, in turn: not while others wait. If its turn has not come it waits in line until its deadline; true once it has its room.
[[nodiscard]] bool wait_for(const Call &call, shmem::SlotId &id, core::Problem &problem);

// The parts of it, for a session that does not stand still while it waits. It has one place in line, and leaves it by leave_line().
[[nodiscard]] bool others_wait();
// Joins the line, and calls whoever's turn it is.
void join_line(const Call &call);
[[nodiscard]] bool is_called();
// True once after each time that its turn came: claim() may have room.
[[nodiscard]] bool take_call();
void call_next();
// Whether or not it is in line; nothing raises.
void leave_line();

// It could wait for ever: the request is larger than all payload memory.
[[nodiscard]] bool can_never_be(const Call &call);
// Counts it as refused, and says why in `problem`.
void refuse(const Call &call, core::Problem &problem);

}  // namespace steadytext::session::room
