// The settings a call obeys: postgresql.conf's, overridden for one database by its steadytext_config table.
//
// Called by src/functions. Regime: pg. A row counts only if its value differs from the one the extension seeded, so
// that a fresh installation obeys postgresql.conf. The table's rows are kept in this process until the table's relation cache
// entry is invalidated, which a trigger does at every change; so a lookup costs nothing, and commit and rollback,
// other sessions and standbys are all heard of.
#pragma once

#include <string_view>

namespace steadytext::session {

struct Settings {
    int default_max_tokens;
    int default_seed;
    bool cache_enabled;
};

[[nodiscard]] Settings settings();

}  // namespace steadytext::session
