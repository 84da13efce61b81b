// Errors, warnings and fallbacks: see degrade.hpp. Regime: pg.
#include "src/pg/postgres.hpp"
#include "src/session/degrade.hpp"
#include "src/guc.hpp"
#include "src/pg/boundary.hpp"
#include "src/session/observe.hpp"
#include "src/session/statement.hpp"

extern "C" {
#include "access/xact.h"
}

namespace steadytext::session {

namespace {

// True the first time that a statement meets this cause. Rows come in sequence, so it is enough to remember the last
// causes.
bool is_news(const core::Problem &problem) {
    constexpr int kRemembered = 8;
    static TimestampTz statement = 0;
    static char seen[kRemembered][6];
    static int count = 0;
    if (statement != GetCurrentStatementStartTimestamp()) {
        statement = GetCurrentStatementStartTimestamp();
        count = 0;
    }
    for (int i = 0; i < count; i++)
        if (strcmp(seen[i], problem.sqlstate) == 0)
            return false;
    if (count < kRemembered)
        strlcpy(seen[count++], problem.sqlstate, sizeof seen[0]);
    return true;
}

}  // namespace

void warn_once(const core::Problem &problem) {
    if (is_news(problem))
        pg::report(WARNING, problem);
}

Degraded degrade(const core::Problem &problem) {
    const auto policy = static_cast<guc::OnFailure>(guc::on_failure);
    observe::failed(problem);
    if (policy == guc::OnFailure::Error)
        pg::raise(problem);
    if (policy == guc::OnFailure::Auto && statement::stores_rows()) {
        core::Problem explained = problem;
        statement::explain_storing(explained);
        pg::raise(explained);
    }
    warn_once(problem);
    observe::fell_back();
    statement::note_stand_in(problem);
    return policy == guc::OnFailure::Null ? Degraded::Null : Degraded::Fallback;
}

}  // namespace steadytext::session
