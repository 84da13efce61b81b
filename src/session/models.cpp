// The cached model list: see models.hpp. Regime: pg.
#include "src/pg/postgres.hpp"
#include "src/session/models.hpp"
#include "src/core/daemon_list.hpp"
#include "src/guc.hpp"
#include "src/pg/boundary.hpp"
#include "src/session/arguments.hpp"

namespace steadytext::session {

namespace {

const shmem::ModelList &models() {
    static shmem::ModelList list;
    static std::uint64_t list_epoch = 0;
    const shmem::DaemonTable &daemons = *shmem::segment().daemons;
    const std::uint64_t epoch = daemons.models_epoch.load(std::memory_order_acquire);  // pairs with publish_models()
    if (epoch != list_epoch && daemons.models.load(list))
        list_epoch = epoch;
    return list;
}

}  // namespace

const shmem::Model *find_model(shmem::ModelRole role, std::string_view name) {
    const shmem::Model *model = models().find(role, name);
    return model != nullptr ? model : models().find(role, {});
}

void check_model(shmem::ModelRole role, const core::TextArgument &model, bool unsafe_mode) {
    core::Problem remote;
    if (!core::check_remote(model, unsafe_mode, remote))
        pg::raise(remote);
    require(rules::kModel, model);
    const std::string_view provider = core::provider_of(model.or_else(""));
    if (provider.empty() || models().find(role, model.text) != nullptr)
        return;
    pg::guarded([&](core::Problem &problem) {
        if (guc::daemons != nullptr && core::has_provider(guc::daemons, provider))
            return true;
        problem.set(core::sqlstate::kInvalidParameterValue, "unknown provider \"%.*s\"",
                    static_cast<int>(provider.size()), provider.data());
        problem.with_hint("An engine is a provider's by provider= in its entry of steadytext.daemons.");
        return false;
    });
}

}  // namespace steadytext::session
