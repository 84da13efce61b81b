// _steadytext.inspect(): for functions in SQL, what src/session/audit.hpp does for those in C++. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/text.hpp"
#include "src/session/arguments.hpp"
#include "src/session/audit.hpp"

STEADYTEXT_FUNCTION(steadytext_inspect) {
    using namespace steadytext;
    const std::string_view parameter = pg::copy_text(pg::utf8_text(PG_GETARG_DATUM(0)));
    session::inspect_name(parameter.data(), pg::text_argument(fcinfo, 1), core::rules::kModel.most);
    PG_RETURN_VOID();
}
