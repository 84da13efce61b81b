// steadytext_generate_batch, steadytext_embed_batch: arrays in, a row for each element out. steadytext_progress: how
// far each batch is. Regime: pg.
#include "src/pg/compat.hpp"
#include "shmem/segment.hpp"
#include "src/pg/administrator.hpp"
#include "src/pg/result_row.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/text.hpp"
#include "src/pg/vector.hpp"
#include "src/session/arguments.hpp"
#include "src/session/batch.hpp"
#include "src/session/embedding.hpp"
#include "src/session/generation.hpp"
#include "src/session/settings.hpp"

extern "C" {
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "utils/acl.h"
#include "utils/array.h"
}

#include <new>

namespace {

using namespace steadytext;
using session::argument_is_true;
using session::Batch;
using session::BatchRow;

// The elements of the array, of all dimensions, in order. They stay where they lie in memory.
void read_texts(FunctionCallInfo fcinfo, const core::Rule &rule, Batch &batch) {
    session::require(rule, PG_ARGISNULL(0) ? core::Value() : core::Value::other());
    Datum *texts;
    bool *nulls;
    int count;
    deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false, TYPALIGN_INT, &texts, &nulls, &count);
    batch.texts = {texts, static_cast<std::size_t>(count)};
    batch.nulls = {nulls, static_cast<std::size_t>(count)};
}

struct Output {
    ReturnSetInfo *result;
    const Batch &batch;
    Datum (*answer)(std::string_view bytes);
};

void put(void *context, const BatchRow &row) {
    const auto &[result, batch, answer] = *static_cast<const Output *>(context);
    const bool is_asked = !batch.nulls[row.index];
    pg::put_row(result, {{batch.texts[row.index], is_asked},
                         row.is_null ? pg::null_column() : answer(row.answer),
                         {BoolGetDatum(row.cached), is_asked},
                         {Int32GetDatum(row.took_ms), is_asked}});
}

Datum vector_of(std::string_view bytes) {
    return pg::vector_datum({reinterpret_cast<const float *>(bytes.data()), bytes.size() / sizeof(float)});
}

session::ModelCall *begin_generation(const void *context, std::string_view prompt) {
    session::GenerationRequest request = *static_cast<const session::GenerationRequest *>(context);
    request.prompt = {false, prompt};
    return session::begin_generation(request, *new (palloc(sizeof(session::Generation))) session::Generation);
}

session::ModelCall *begin_embedding(const void *context, std::string_view text) {
    session::EmbeddingRequest request = *static_cast<const session::EmbeddingRequest *>(context);
    request.text = {false, text};
    return session::begin_embedding(request);
}

}  // namespace

STEADYTEXT_FUNCTION(steadytext_generate_batch) {
    (void)shmem::segment();  // first of all: is the library preloaded?
    session::GenerationRequest request;
    request.has_max_tokens = !PG_ARGISNULL(1);
    request.max_tokens = request.has_max_tokens ? PG_GETARG_INT32(1) : 0;
    request.use_cache = argument_is_true(fcinfo, 2);
    request.wants_key = true;
    Batch batch{shmem::CallKind::Generate, &core::rules::kPrompt, {}, {}, begin_generation, &request};
    read_texts(fcinfo, core::rules::kPrompts, batch);
    Output output{pg::materialize(fcinfo), batch, pg::text_datum};
    session::run_batch(batch, put, &output);
    return static_cast<Datum>(0);
}

STEADYTEXT_FUNCTION(steadytext_embed_batch) {
    (void)shmem::segment();
    session::EmbeddingRequest request;
    request.use_cache = argument_is_true(fcinfo, 1);
    request.seed = session::settings().default_seed;
    request.wants_key = true;
    Batch batch{shmem::CallKind::Embed, &core::rules::kText, {}, {}, begin_embedding, &request};
    read_texts(fcinfo, core::rules::kTexts, batch);
    Output output{pg::materialize(fcinfo), batch, vector_of};
    session::run_batch(batch, put, &output);
    return static_cast<Datum>(0);
}

// Shows batches of the caller's own roles. An administrator sees all batches of the database, pg_read_all_stats all
// of the server.
STEADYTEXT_FUNCTION(steadytext_progress) {
    shmem::ProgressTable &table = *shmem::segment().progress;
    ReturnSetInfo *result = pg::materialize(fcinfo);
    const bool sees_all = has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS);
    const bool is_administrator = pg::is_administrator();
    for (std::uint32_t i = 0; i < table.size(); i++) {
        const shmem::ProgressRow &row = table.row(i);
        const std::int32_t pid = row.pid.load(std::memory_order_acquire);  // pairs with progress::begin()
        const bool is_ours = is_administrator && pg::database_of(static_cast<int32>(i)) == MyDatabaseId;
        if (pid == 0 ||
            (!sees_all && !is_ours && !has_privs_of_role(GetUserId(), row.role.load(std::memory_order_relaxed))))
            continue;
        pg::put_row(result, {Int32GetDatum(pid), pg::words(shmem::name_of(row.kind.load(std::memory_order_relaxed))),
                             pg::number(row.total.load(std::memory_order_relaxed)),
                             pg::number(row.done.load(std::memory_order_relaxed)),
                             pg::number(row.cached.load(std::memory_order_relaxed)),
                             pg::number(row.failed.load(std::memory_order_relaxed)),
                             TimestampTzGetDatum(pg::timestamp_of(row.started_us.load(std::memory_order_relaxed)))});
    }
    return static_cast<Datum>(0);
}
