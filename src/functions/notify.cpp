// NOTIFY steadytext_incident, for _steadytext.incident_note(). Regime: pg.
#include "src/pg/compat.hpp"
#include "src/pg/boundary.hpp"
#include "src/session/notify.hpp"

STEADYTEXT_FUNCTION(steadytext_incident_notify) {
    (void)fcinfo;
    steadytext::session::notify(steadytext::session::Channel::Incident);
    PG_RETURN_VOID();
}
