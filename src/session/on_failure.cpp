// Errors, warnings and fallbacks: see on_failure.hpp. Regime: pg.
#include "src/pg/postgres.hpp"
#include "src/session/on_failure.hpp"
#include "src/guc.hpp"
#include "src/pg/boundary.hpp"
#include "src/session/observe.hpp"
#include "src/session/statement.hpp"

extern "C" {
#include "access/xact.h"
}

namespace steadytext::session {

namespace {

// The causes that the statement has warned of. Rows come in sequence, so it is enough to remember a few.
constexpr int kRemembered = 8;
TimestampTz warned_statement = 0;
char warned[kRemembered][6];
int warned_count = 0;

// True the first time that a statement meets this cause.
bool is_news(const core::Problem &problem) {
    if (has_warned(problem.sqlstate))
        return false;
    if (warned_count < kRemembered)
        strlcpy(warned[warned_count++], problem.sqlstate, sizeof warned[0]);
    return true;
}

}  // namespace

bool has_warned(const char *sqlstate) {
    if (warned_statement != GetCurrentStatementStartTimestamp()) {
        warned_statement = GetCurrentStatementStartTimestamp();
        warned_count = 0;
    }
    for (int i = 0; i < warned_count; i++)
        if (strcmp(warned[i], sqlstate) == 0)
            return true;
    return false;
}

void warn_once(const core::Problem &problem) {
    if (is_news(problem))
        pg::report(WARNING, problem);
}

Degraded apply_on_failure(const core::Problem &problem) {
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
