// Which rows of steadytext_config count for nothing, for steadytext_selfcheck(). In settings.cpp, which leaves them
// out. Regime: pg.
#pragma once

namespace steadytext::session {

// Keys of rows that steadytext_config_set() would refuse, separated by commas; palloc'd.
[[nodiscard]] const char *keys_left_out();

}  // namespace steadytext::session
