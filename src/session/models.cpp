// The cached model list: see models.hpp. Regime: pg.
#include "src/pg/postgres.hpp"
#include "src/session/models.hpp"

namespace steadytext::session {

const shmem::Model *find_model(shmem::ModelRole role, std::string_view name) {
    static shmem::ModelList list;
    static std::uint64_t list_epoch = 0;
    const shmem::DaemonTable &daemons = *shmem::segment().daemons;
    const std::uint64_t epoch = daemons.models_epoch.load(std::memory_order_acquire);  // pairs with publish_models()
    if (epoch != list_epoch && daemons.models.load(list))
        list_epoch = epoch;
    const shmem::Model *model = list.find(role, name);
    return model != nullptr ? model : list.find(role, {});
}

}  // namespace steadytext::session
