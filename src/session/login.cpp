// Who had connected: see login.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/session/login.hpp"
#include "shmem/segment.hpp"

extern "C" {
#include "access/parallel.h"
#include "miscadmin.h"
}

namespace steadytext::session {

namespace {

Oid given = InvalidOid;

}  // namespace

Oid login_that_was_set() { return given; }

void set_login(Oid role) {
    given = role;
    // statement.cpp writes it when the first statement begins; later callbacks of the same worker may have another.
    if (shmem::ParallelNote *note = shmem::segment().parallel_notes->of(pg::my_proc_number()); note != nullptr)
        note->login.store(role, std::memory_order_relaxed);
}

Oid login() {
    if (IsParallelWorker())
        if (const shmem::ParallelNote *note = shmem::segment().parallel_notes->of(pg::parallel_leader());
            note != nullptr && note->login.load(std::memory_order_relaxed) != InvalidOid)
            return note->login.load(std::memory_order_relaxed);
    return OidIsValid(given) ? given : GetSessionUserId();
}

}  // namespace steadytext::session
