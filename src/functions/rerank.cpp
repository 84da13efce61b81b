// steadytext_rerank, _top_k and _batch: arguments in, rows out, best first. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/text.hpp"
#include "src/pg/text_array.hpp"
#include "src/session/arguments.hpp"
#include "src/session/reranking.hpp"
#include "src/session/settings.hpp"

namespace {

using namespace steadytext;
using session::argument_is_true;
using session::RankedDocument;
using session::RerankRequest;

std::span<const core::TextArgument> array_argument(FunctionCallInfo fcinfo, int number) {
    return PG_ARGISNULL(number) ? std::span<const core::TextArgument>() : pg::texts_of(PG_GETARG_ARRAYTYPE_P(number));
}

RerankRequest read_request(FunctionCallInfo fcinfo, int task, int seed) {
    RerankRequest request;
    request.documents_are_null = PG_ARGISNULL(1);
    request.documents = array_argument(fcinfo, 1);
    request.task = pg::text_argument(fcinfo, task);
    request.seed = PG_ARGISNULL(seed) ? session::settings().default_seed : PG_GETARG_INT32(seed);
    return request;
}

// A row: the query's number if there are several, the document, and its score unless it is not wanted or not
// known.
void put(ReturnSetInfo *result, int query_index, const RerankRequest &request, const RankedDocument &ranked,
         bool with_score) {
    Datum values[3];
    bool nulls[3] = {};
    int column = 0;
    if (query_index >= 0)
        values[column++] = Int32GetDatum(query_index);
    values[column++] = pg::text_datum(request.documents[ranked.index].text);
    values[column] = Float8GetDatum(ranked.score);
    nulls[column] = !with_score || !ranked.has_score;
    tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

void put_first(ReturnSetInfo *result, const RerankRequest &request, std::size_t most, bool with_scores) {
    for (const RankedDocument &ranked : session::rerank(request)) {
        if (most-- == 0)
            break;
        put(result, -1, request, ranked, with_scores);
    }
}

}  // namespace

STEADYTEXT_FUNCTION(steadytext_rerank) {
    RerankRequest request = read_request(fcinfo, 2, 4);
    request.query = pg::text_argument(fcinfo, 0);
    put_first(pg::materialize(fcinfo), request, request.documents.size(), argument_is_true(fcinfo, 3));
    return static_cast<Datum>(0);
}

STEADYTEXT_FUNCTION(steadytext_rerank_top_k) {
    session::require(core::rules::kTopK, PG_ARGISNULL(2) ? core::Value() : core::Value(PG_GETARG_INT32(2)));
    RerankRequest request = read_request(fcinfo, 3, 5);
    request.query = pg::text_argument(fcinfo, 0);
    put_first(pg::materialize(fcinfo), request, static_cast<std::size_t>(PG_GETARG_INT32(2)),
              argument_is_true(fcinfo, 4));
    return static_cast<Datum>(0);
}

// Queries that cannot be asked are skipped, and without documents there is nothing to rank, as with the original.
STEADYTEXT_FUNCTION(steadytext_rerank_batch) {
    const std::span<const core::TextArgument> queries = array_argument(fcinfo, 0);
    session::require(core::rules::kQueries, PG_ARGISNULL(0) ? core::Value() : core::Value(queries));
    RerankRequest request = read_request(fcinfo, 2, 4);
    session::require(core::rules::kMaybeDocuments, request.documents);
    session::require(core::rules::kTask, request.task);
    session::require(core::rules::kSeed, request.seed);
    ReturnSetInfo *result = pg::materialize(fcinfo);
    for (std::size_t i = 0; i < queries.size() && !request.documents.empty(); i++) {
        request.query = queries[i];
        if (request.query.is_null || core::is_blank(request.query.text))
            continue;
        for (const RankedDocument &ranked : session::rerank(request))
            put(result, static_cast<int>(i), request, ranked, true);
    }
    return static_cast<Datum>(0);
}
