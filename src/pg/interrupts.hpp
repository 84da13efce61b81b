// Interrupts for pure code: a Work that ends when the session is asked to end.
//
// Called by src/session, src/functions and src/pg around loops over a user's input. Regime: boundary.
//
// A longjmp must not leave pure code, so pure code cannot call CHECK_FOR_INTERRUPTS(). Instead it checks between steps
// whether the statement or the session is asked to end. If so, it unwinds with a core::Problem, and the interrupt is
// served here, when no C++ object is left.
#pragma once

#include "src/core/work.hpp"
#include "src/pg/boundary.hpp"

extern "C" {
#include "miscadmin.h"
}

namespace steadytext::pg {

// Whether CHECK_FOR_INTERRUPTS() would end the statement or the session here.
[[nodiscard]] inline bool is_asked_to_end(void * = nullptr) {
    return InterruptPending && InterruptHoldoffCount == 0 && CritSectionCount == 0 &&
           (ProcDiePending || (QueryCancelPending && QueryCancelHoldoffCount == 0));
}

[[nodiscard]] inline core::Work interruptible(std::uint64_t limit = core::Work::kUnlimited) {
    return core::Work(limit, is_asked_to_end, nullptr);
}

// Runs pure code that spends `work`. Serves a pending interrupt; otherwise as try_guarded().
template <class Body>
[[nodiscard]] bool try_worked(core::Problem &problem, core::Work &work, const char *what, Body &&body) {
    const bool good = try_guarded(problem, std::forward<Body>(body));
    CHECK_FOR_INTERRUPTS();
    return work.has_ended() ? work.tell(problem, what) : good;
}

// As try_worked(), and raises the problem as an ERROR. `what` names the work in the message that it is too large.
template <class Body>
void worked(core::Work &work, const char *what, Body &&body) {
    core::Problem problem;
    if (!try_worked(problem, work, what, std::forward<Body>(body)))
        raise(problem);
}

}  // namespace steadytext::pg
