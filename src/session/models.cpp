// From a name to a model: see models.hpp. Regime: pg.
#include "src/pg/postgres.hpp"
#include "src/session/models.hpp"
#include "src/core/daemon_list.hpp"
#include "src/core/mix.hpp"
#include "src/guc.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/text.hpp"
#include "src/session/arguments.hpp"
#include "src/session/statement.hpp"

extern "C" {
#include "access/xact.h"
#include "lib/stringinfo.h"
}

#include <functional>

namespace steadytext::session {

namespace {

const shmem::ModelTable &models() { return shmem::segment().daemons->models; }

// True the first time that a statement names this model, and that model answers instead. It may name very many: then
// the oldest are forgotten, and reported again.
bool is_news(shmem::ModelRole role, std::string_view name, std::string_view instead) {
    constexpr std::size_t kRemembered = 64;
    static TimestampTz statement = 0;
    static std::size_t seen[kRemembered];
    static std::size_t count = 0;
    if (statement != GetCurrentStatementStartTimestamp()) {
        statement = GetCurrentStatementStartTimestamp();
        count = 0;
    }
    const std::size_t names = core::mix(std::hash<std::string_view>()(name)) ^ std::hash<std::string_view>()(instead);
    const std::size_t hash = names * shmem::kModelRoleCount + static_cast<std::size_t>(role);
    for (std::size_t i = 0; i < count && i < kRemembered; i++)
        if (seen[i] == hash)
            return false;
    seen[count++ % kRemembered] = hash;
    return true;
}

// The names that a call may use, as many as a message has room for.
const char *known_names(shmem::ModelRole role) {
    constexpr std::size_t kRoom = 350;  // beside what else Problem::detail says
    auto *all = static_cast<shmem::Model *>(palloc(shmem::ModelTable::kMost * sizeof(shmem::Model)));
    const std::uint32_t count = models().load(all);
    StringInfoData names;
    initStringInfo(&names);
    int more = 0;
    for (std::uint32_t i = 0; i < count; i++) {
        if (all[i].role != role || !all[i].is_listed || all[i].name[0] == '\0')
            continue;
        if (names.len + strlen(all[i].name) > kRoom)
            more++;
        else
            appendStringInfo(&names, "%s%s", names.len == 0 ? "" : ", ", all[i].name);
    }
    if (more > 0)
        appendStringInfo(&names, ", and %d more", more);
    pfree(all);
    return names.len == 0 ? "none" : names.data;
}

// No daemon serves the model of this name: an error, or a warning with the model that answers instead.
void complain(shmem::ModelRole role, std::string_view name, const shmem::Model &instead) {
    const auto policy = static_cast<guc::UnknownModel>(guc::unknown_model);
    const bool is_error = policy == guc::UnknownModel::Error;
    if (policy == guc::UnknownModel::Ignore || (!is_error && !is_news(role, name, instead.name)))
        return;
    core::Problem problem;
    problem.set(core::sqlstate::kUndefinedObject, "no inference daemon serves model \"%.*s\"",
                static_cast<int>(name.size()), name.data());
    problem.with_hint("SELECT * FROM steadytext_models() tells more of them; steadytext.unknown_model says what such a "
                      "call gives.");
    if (is_error)
        pg::raise(problem.with_detail("There are: %s.", known_names(role)));
    problem.with_detail("Model \"%s\" answers instead. There are: %s.", instead.name, known_names(role));
    pg::report(WARNING, problem);
}

}  // namespace

bool find_default_model(shmem::ModelRole role, shmem::Model &model) { return models().find(role, {}, model); }

shmem::ModelRole role_of(std::string_view name) {
    shmem::Model found;
    const bool only_embeds = !models().find(shmem::ModelRole::Generation, name, found) &&
                             models().find(shmem::ModelRole::Embedding, name, found);
    return only_embeds ? shmem::ModelRole::Embedding : shmem::ModelRole::Generation;
}

bool find_ranking_embedder(shmem::Model &model) { return models().find_ranker(model); }

void check_model(shmem::ModelRole role, const core::TextArgument &model, bool unsafe_mode) {
    core::Problem remote;
    if (!core::check_remote(model, unsafe_mode, remote))
        pg::raise(remote);
    require(rules::kModel, model);
    const std::string_view provider = core::provider_of(model.or_else(""));
    shmem::Model found;
    if (provider.empty() || models().find(role, model.text, found) || !models().untold().is_whole)
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

ChosenModel choose_model(shmem::ModelRole role, std::string_view name) {
    ChosenModel chosen;
    chosen.asked = name;
    const shmem::ModelsUntold untold = models().untold();
    if (models().find(role, name, chosen.model)) {
        chosen.is_known = true;
        chosen.is_gone = !name.empty() && !chosen.model.is_listed && !untold.any && untold.is_whole;
        return chosen;
    }
    if (!core::provider_of(name).empty() || name.empty())
        return chosen;  // a provider may well have the model
    shmem::Model instead;
    const bool has_default = find_default_model(role, instead);
    if (models().find_taker(role, chosen.model) && (chosen.model.is_listed || untold.any) &&
        (chosen.model.served || !has_default || !instead.served)) {
        chosen.is_known = true;
        return chosen;
    }
    if (!untold.is_whole || untold.is_awaited || !has_default) {
        chosen.model = {};
        return chosen;
    }
    if (!statement::is_analyzing())
        complain(role, name, instead);
    chosen.is_known = true;
    chosen.model = instead;
    chosen.asked = pg::copy_text(instead.name);
    return chosen;
}

void replace_if_gone(shmem::ModelRole role, ChosenModel &chosen, std::string_view name) {
    shmem::Model instead;
    if (!chosen.is_gone || !find_default_model(role, instead))
        return;
    complain(role, name, instead);
    chosen.is_known = chosen.is_gone = false;
    chosen.asked = pg::copy_text(instead.name);
}

}  // namespace steadytext::session
