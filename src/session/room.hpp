// Room in shared memory for a request: a slot, payload memory for what it says, and the line of those who wait for it.
//
// Called by running_call.cpp (the line) and pending_slot.cpp (shares). Regime: pg, but nothing raises or waits.
// shmem/waiting_line.hpp says whose turn it is.
#pragma once

#include "src/session/pending_slot.hpp"

namespace steadytext::session::room {

// The role whose share the request is charged to, and the payload memory that the request takes.
[[nodiscard]] shmem::Claimant claimant(const SlotRequest &request);
[[nodiscard]] std::uint32_t chunks_of(const SlotRequest &request);

// What the role's share lacks for the request. Does not look who stands in line.
enum class Lack : std::uint8_t { None, Slot, Memory };
[[nodiscard]] Lack lack(const SlotRequest &request);

// In turn: not while others wait. A session has one place in line, and leaves it by leave_line().
[[nodiscard]] bool others_wait();
// Joins the line, and calls whoever's turn it is.
void join_line(const SlotRequest &request);
[[nodiscard]] bool is_called();
// True once after each time that its turn came: claim() may have room.
[[nodiscard]] bool take_call();
void call_next();
// Whether or not it is in line; nothing raises.
void leave_line();

// It could wait for ever: the request is larger than all payload memory.
[[nodiscard]] bool can_never_be(const SlotRequest &request);
// Counts it as refused, and says why in `problem`.
void refuse(const SlotRequest &request, core::Problem &problem);

}  // namespace steadytext::session::room
