// Checks which functions may be callbacks. Called when a request names a callback (src/functions/queue.cpp), and again
// before it is called, since names and rights may have changed (src/queue/callback_worker.cpp). Regime: pg, within a
// transaction, as the role that asked for the callback.
#pragma once

#include "src/pg/postgres.hpp"

namespace steadytext::pg {

struct CallbackFunction {
    Oid oid;
    Oid owner;
    const char *name;  // qualified and quoted, in CurrentMemoryContext
};

// Raises an error unless it is a function of a single uuid that returns no set, and the current user may call it.
[[nodiscard]] CallbackFunction callback_function(Oid function);

// As above, for the function that has this name now. It must belong to `owner`, the owner of the function that was
// asked for: the owner of the schema, or a role that renamed functions, may have put another function there. Call it by
// its OID, so that the called function is the checked function.
[[nodiscard]] CallbackFunction callback_function(const char *name, Oid owner);

}  // namespace steadytext::pg
