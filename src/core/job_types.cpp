// The table: see job_types.hpp. Regime: pure, noexcept.
#include "src/core/job_types.hpp"

#include "src/core/parameters.hpp"

namespace steadytext::core {

namespace {

struct JobType {
    std::string_view name;
    std::string_view function;
    std::string_view part;  // the function for a part of a batch; empty: it is no batch
};

constexpr JobType kJobTypes[] = {
    {"generate", "steadytext_generate", {}},
    {"generate_json", "steadytext_generate_json", {}},
    {"generate_regex", "steadytext_generate_regex", {}},
    {"generate_choice", "steadytext_generate_choice", {}},
    {"batch_generate", "steadytext_generate_batch", "steadytext_generate"},
    {"embed", "steadytext_embed", {}},
    {"batch_embed", "steadytext_embed_batch", "steadytext_embed"},
    {"rerank", "steadytext_rerank", {}},
    {"batch_rerank", "steadytext_rerank", {}},
};

const JobType *find(std::string_view name) noexcept {
    for (const JobType &type : kJobTypes)
        if (name == type.name)
            return &type;
    return nullptr;
}

const Parameter *find_in(std::span<const Parameter> rows, std::string_view name) noexcept {
    for (const Parameter &row : rows)
        if (name == row.name)
            return &row;
    return nullptr;
}

}  // namespace

std::span<const Parameter> job_arguments(std::string_view name) noexcept {
    const JobType *type = find(name);
    return type == nullptr ? std::span<const Parameter>() : arguments_of(type->function);
}

const Parameter *find_job_argument(std::string_view name, std::string_view argument) noexcept {
    const JobType *type = find(name);
    if (type == nullptr)
        return nullptr;
    const Parameter *found = find_in(arguments_of(type->function), argument);
    return found != nullptr || type->part.empty() ? found : find_in(arguments_of(type->part).subspan(1), argument);
}

}  // namespace steadytext::core
