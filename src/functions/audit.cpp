// _steadytext.inspect(): for functions in SQL, what src/session/audit.hpp does for those in C++. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/text.hpp"
#include "src/session/arguments.hpp"
#include "src/session/audit.hpp"

STEADYTEXT_FUNCTION(steadytext_inspect) {
    using namespace steadytext;
    // What a row and the log say of a parameter is one of these words.
    static constexpr const char *kParameters[] = {"model", "role", "operation", "config_key", "config_value", "daemon_host"};
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
