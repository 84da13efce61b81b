// Runs a body and gives back the error that it raised, as a block with EXCEPTION does in PL/pgSQL.
//
// Used by src/pg/row_value.cpp and src/functions/tries.cpp. Regime: pg: `body` holds no object with a destructor.
#pragma once

#include "src/pg/postgres.hpp"

extern "C" {
#include "access/xact.h"
#include "utils/resowner.h"
}

namespace steadytext::pg {

// Null, or the error, in CurrentMemoryContext, which is the body's too. In a subtransaction, which an error rolls back;
// if not `apart`, the caller raises every error anew.
template <class Body>
[[nodiscard]] ErrorData *caught(bool apart, Body &&body) {
    const MemoryContext context = CurrentMemoryContext;
    const ResourceOwner owner = CurrentResourceOwner;
    ErrorData **error = static_cast<ErrorData **>(palloc0(sizeof(ErrorData *)));
    if (apart)
        BeginInternalSubTransaction(nullptr);
    MemoryContextSwitchTo(context);
    PG_TRY();
    {
        body();
        if (apart)
            ReleaseCurrentSubTransaction();
    }
    PG_CATCH();
    {
        MemoryContextSwitchTo(context);
        *error = CopyErrorData();
        FlushErrorState();
        if (apart)
            RollbackAndReleaseCurrentSubTransaction();
    }
    PG_END_TRY();
    MemoryContextSwitchTo(context);
    CurrentResourceOwner = owner;
    return *error;
}

}  // namespace steadytext::pg
