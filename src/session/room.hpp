// Room in shared memory for a request: a slot, payload memory for its text, and the line of sessions that wait for
// both.
//
// Called by running_call.cpp (the line) and pending_slot.cpp (shares). Regime: pg, but nothing raises or waits.
// shmem/waiting_line.hpp decides which session has its turn.
#pragma once

#include "src/session/pending_slot.hpp"

namespace steadytext::session::room {

// The role that is charged for the request, and the payload memory that the request takes.
[[nodiscard]] shmem::Claimant claimant(const SlotRequest &request);
[[nodiscard]] std::uint32_t chunks_of(const SlotRequest &request);

// The resource that the role's share lacks for the request. Does not look at the line.
enum class Shortage : std::uint8_t { None, Slot, Memory };
[[nodiscard]] Shortage shortage(const SlotRequest &request);

// Room goes in turn: no session takes room while others wait. A session has a single place in line, and leaves it by
// leave_line().
[[nodiscard]] bool others_wait();
// Joins the line.
void join_line(const SlotRequest &request);
[[nodiscard]] bool is_called();
// True once after each time that its turn came: claim() may have room.
[[nodiscard]] bool take_call();
void call_next();
// Leaves the line, if the session is in it. Raises nothing.
void leave_line();

// The request could wait for ever: it is larger than all payload memory.
[[nodiscard]] bool can_never_be(const SlotRequest &request);
// Counts the request as refused, and says why in `problem`.
void refuse(const SlotRequest &request, core::Problem &problem);

}  // namespace steadytext::session::room
