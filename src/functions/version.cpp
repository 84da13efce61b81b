// steadytext_version(): the version of the loaded library. Regime: pg.
#include "src/pg/boundary.hpp"

STEADYTEXT_FUNCTION(steadytext_version) { return CStringGetTextDatum(STEADYTEXT_VERSION); }
