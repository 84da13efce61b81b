// Rows of steadytext_queue that come by another way than the functions: what is checked and held.
//
// Called by src/functions/queue.cpp. Regime: pg.
#pragma once

namespace steadytext::functions {

// After a statement that wrote rows: a WARNING, once for a session, if calls that it restored are held.
void warn_of_held();

}  // namespace steadytext::functions
