// Code that runs once in a process, such as registering a callback with PostgreSQL.
//
// Called by src/session, src/functions and src/pg. Regime: that of `body`.
#pragma once

namespace steadytext::pg {

// Runs `body` at the first call. Each lambda has a type of its own and therefore its own `done`. A body that raises is
// run again at the next call.
template <class Body>
void once(Body body) {
    static bool done = false;
    if (done)
        return;
    body();
    done = true;
}

}  // namespace steadytext::pg
