// Limits how long a statement waits for a lock on the extension's tables: a role that may change a table may also LOCK
// TABLE it, and keep it locked.
//
// Called by src/pg/table_rows.cpp and src/functions. Regime: pg.
#pragma once

#include "src/pg/postgres.hpp"

extern "C" {
#include "storage/proc.h"
#include "utils/guc.h"
}

namespace steadytext::pg {

// From here on a wait for a lock ends with an error (55P03) after `milliseconds`, or sooner if lock_timeout says so.
// Call it within a GUC nest level; the end of that level undoes it.
inline void bound_lock_waits(int milliseconds) {
    if (LockTimeout == 0 || LockTimeout > milliseconds)
        (void)set_config_option("lock_timeout", psprintf("%d", milliseconds), PGC_USERSET, PGC_S_SESSION,
                                GUC_ACTION_SAVE, true, 0, false);
}

}  // namespace steadytext::pg
