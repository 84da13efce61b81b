// steadytext_models(): the models that the daemons serve, with their fingerprints. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/result_row.hpp"
#include "shmem/segment.hpp"

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
    auto *models = static_cast<shmem::Model *>(palloc(shmem::ModelTable::kMost * sizeof(shmem::Model)));
    const std::uint32_t count = segment.daemons->models.load(models);
    for (std::uint32_t i = 0; i < count; i++) {
        const shmem::Model &model = models[i];
        pg::put_row(result, {pg::words(role_name(model.role)),
                             pg::shown(model.name),
                             pg::shown_text(model.fingerprint),
                             {Int32GetDatum(model.dimensions), model.dimensions != 0},
                             BoolGetDatum(model.is_default),
                             BoolGetDatum(model.served)});
    }
    return static_cast<Datum>(0);
}
