// steadytext_embed: text in, pgvector's vector out. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/guc.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/text.hpp"
#include "src/pg/vector.hpp"
#include "src/session/arguments.hpp"
#include "src/session/embedding.hpp"
#include "src/session/settings.hpp"

STEADYTEXT_FUNCTION(steadytext_embed) {
    using namespace steadytext;
    session::EmbeddingRequest request;
    request.text = pg::text_argument(fcinfo, 0);
    request.use_cache = session::argument_is_true(fcinfo, 1);
    request.seed = PG_ARGISNULL(2) ? session::settings().default_seed : PG_GETARG_INT32(2);
    request.model = pg::text_argument(fcinfo, 3);
    request.unsafe_mode = session::argument_is_true(fcinfo, 4);

    const std::span<const float> vector = session::embed(request);
    if (vector.empty())
        PG_RETURN_NULL();
    return pg::vector_datum(vector);
}
