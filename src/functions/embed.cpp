// steadytext_embed: text in, pgvector's vector out. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/functions/ahead_functions.hpp"
#include "src/guc.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/text.hpp"
#include "src/pg/vector.hpp"
#include "src/session/arguments.hpp"
#include "src/session/embedding.hpp"
#include "src/session/settings.hpp"

namespace {

using namespace steadytext;

session::EmbeddingRequest request_of(FunctionCallInfo fcinfo) {
    session::EmbeddingRequest request;
    request.text = pg::text_argument(fcinfo, 0);
    request.use_cache = session::argument_is_true(fcinfo, 1);
    request.seed = PG_ARGISNULL(2) ? session::settings().default_seed : PG_GETARG_INT32(2);
    request.model = pg::text_argument(fcinfo, 3);
    request.unsafe_mode = session::argument_is_true(fcinfo, 4);
    return request;
}

session::ahead::Foreseen foresee(FunctionCallInfo call) {
    return functions::foreseen(core::rules::kText, pg::text_argument(call, 0));
}

session::ModelCall *begin_ahead(FunctionCallInfo call) { return session::begin_embedding(request_of(call)); }

Datum vector_of(FunctionCallInfo, std::string_view bytes) {
    return pg::vector_datum({reinterpret_cast<const float *>(bytes.data()), bytes.size() / sizeof(float)});
}

}  // namespace

const session::ahead::Function steadytext::functions::kEmbedAhead = {
    "steadytext_embed", "vddvd", 0, shmem::CallKind::Embed, foresee, begin_ahead, vector_of, false,
};

STEADYTEXT_FUNCTION(steadytext_embed) {
    if (Datum answer; session::ahead::take(functions::kEmbedAhead, fcinfo, answer, fcinfo->isnull))
        return answer;
    const std::span<const float> vector = session::embed(request_of(fcinfo));
    if (vector.empty())
        PG_RETURN_NULL();
    return pg::vector_datum(vector);
}
