// Which functions may be callbacks: asked when one is named (src/functions/queue.cpp), and again when it is to be called, since names and rights change
// meanwhile (src/queue/callback_worker.cpp). Regime: pg, within a transaction, as the role whose callback it is.
#pragma once

#include "src/pg/postgres.hpp"

namespace steadytext::pg {

struct CallbackFunction {
    Oid oid;
    Oid owner;
    const char *name;  // qualified and quoted, in CurrentMemoryContext
};

// An error unless it is a function of one uuid that gives no set, and the current user may call it.
[[nodiscard]] CallbackFunction callback_function(Oid function);

// The same of the one that has this name now, which must belong to `owner`, as the one that was asked for did: whoever owns the schema, or has renamed
// a function, may have put another there. It is to be called by its OID, so that it is the one that was looked at.
[[nodiscard]] CallbackFunction callback_function(const char *name, Oid owner);

}  // namespace steadytext::pg
