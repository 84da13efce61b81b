// steadytext_count_tokens: text in, the number of its tokens out. Regime: pg.
#include "src/pg/boundary.hpp"
#include "src/pg/text.hpp"
#include "src/session/token_count.hpp"

STEADYTEXT_FUNCTION(steadytext_count_tokens) {
    using namespace steadytext;
    if (PG_ARGISNULL(0))
        PG_RETURN_NULL();
    const std::optional<std::int32_t> tokens =
        session::count_tokens(pg::text_argument(fcinfo, 0), pg::text_argument(fcinfo, 1));
    if (!tokens.has_value())
        PG_RETURN_NULL();
    PG_RETURN_INT32(*tokens);
}
