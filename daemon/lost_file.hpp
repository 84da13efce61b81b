// What becomes of the daemon when a model's file is cut short while it is mapped: the parts that are gone cannot be computed with, and
// the kernel says so by SIGBUS to whichever thread reads one. The process says which file it was, and ends.
//
// Called once by main.cpp, before other threads are made. Regime: pure; the handler makes async-signal-safe calls only.
#pragma once

namespace steadytext::daemon {

void end_when_a_file_is_lost() noexcept;

}  // namespace steadytext::daemon
