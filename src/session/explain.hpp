// EXPLAIN (ANALYZE) of a statement that makes calls shows their counts:
//
//     Steadytext: calls=40 hits=28 failures=0 prompt tokens=96 completion tokens=540 saved tokens=1260 time=812.437 ms
//
// Called by _PG_init. Regime: pg. The hook costs nothing for a statement that is not explained, and a comparison for a
// call (observe::tally). Calls that the planner makes, for constants, count, and so do those of
// parallel workers, which add theirs to the leader's note in shared memory. In JSON, XML and
// YAML the counts are members of the statement's group, which is opened again for them.
// EXPLAIN EXECUTE, for which there is no hook, gets the line behind its rows, in text format only.
#pragma once

namespace steadytext::session {

void install_explain_hook();

}  // namespace steadytext::session
