// _steadytext.inspect(): gives SQL functions the check of suspicious input that src/session/audit.hpp gives
// C++ functions. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/text.hpp"
#include "src/session/arguments.hpp"
#include "src/session/audit.hpp"

STEADYTEXT_FUNCTION(steadytext_inspect) {
    using namespace steadytext;
    // Only these words name a parameter in the audit log and in the server log.
    static constexpr const char *kParameters[] = {"model",      "role",         "operation",
                                                  "config_key", "config_value", "daemon_host"};
    const std::string_view asked = pg::utf8_text(PG_GETARG_DATUM(0));
    for (const char *parameter : kParameters) {
        if (asked != parameter)
            continue;
        session::inspect_name(parameter, pg::text_argument(fcinfo, 1), core::rules::kModel.most);
        PG_RETURN_VOID();
    }
    core::Problem problem;
    problem.set(core::sqlstate::kInvalidParameterValue, "unknown parameter to inspect");
    pg::raise(problem);
}
