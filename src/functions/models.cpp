// steadytext_models(): what the daemons serve, under which fingerprints. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/shown_text.hpp"
#include "shmem/segment.hpp"

#include <new>

namespace {

const char *role_name(steadytext::shmem::ModelRole role) {
    switch (role) {
    case steadytext::shmem::ModelRole::Generation:
        return "generation";
    case steadytext::shmem::ModelRole::Embedding:
        return "embedding";
    case steadytext::shmem::ModelRole::Reranker:
        return "reranker";
    }
    return "";
}

}  // namespace

STEADYTEXT_FUNCTION(steadytext_models) {
    using namespace steadytext;
    const shmem::Segment &segment = shmem::segment();
    ReturnSetInfo *result = pg::materialize(fcinfo);
    auto *list = new (palloc(sizeof(shmem::ModelList))) shmem::ModelList;
    if (!segment.daemons->models.load(*list))
        return static_cast<Datum>(0);
    for (uint32 i = 0; i < list->count; i++) {
        const shmem::Model &model = list->models[i];
        Datum values[6] = {CStringGetTextDatum(role_name(model.role)), pg::shown_text(model.name),
                           pg::shown_text(model.fingerprint),     Int32GetDatum(model.dimensions),
                           BoolGetDatum(model.is_default),             BoolGetDatum(model.served)};
        bool nulls[6] = {false, model.name[0] == '\0', false, model.dimensions == 0, false, false};
        tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
    }
    return static_cast<Datum>(0);
}
