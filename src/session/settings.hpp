// The settings that a call obeys: postgresql.conf's, overridden for a database by its steadytext_config table.
//
// Called by src/functions and src/session. Regime: pg. A row counts only if its value differs from the value that the
// extension seeded, so that a fresh installation obeys postgresql.conf. This process keeps the table's rows until the
// table's relation cache entry is invalidated, which a trigger does at every change. So a lookup costs nothing, and the
// process hears of commits, rollbacks, other sessions and standbys.
#pragma once

namespace steadytext::session {

struct Settings {
    int default_max_tokens;
    int default_seed;
    bool cache_enabled;
    bool daemon_auto_start;  // of the table alone
};

[[nodiscard]] Settings settings();

}  // namespace steadytext::session
