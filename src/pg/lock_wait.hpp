// A bound on how long a lock of the extension's own tables is waited for: whoever may change one may LOCK TABLE it too, and keep it locked.
//
// Used by src/session and src/functions. Regime: pg.
#pragma once

#include "src/pg/postgres.hpp"

extern "C" {
#include "storage/proc.h"
#include "utils/guc.h"
}

namespace steadytext::pg {

// From here on the wait for a lock ends after so long with an error (55P03), or sooner, as lock_timeout says. Within a GUC nest level of the caller's,
// whose end undoes it.
inline void bound_lock_waits(int milliseconds) {
    if (LockTimeout == 0 || LockTimeout > milliseconds)
        (void)set_config_option("lock_timeout", psprintf("%d", milliseconds), PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

}  // namespace steadytext::pg
