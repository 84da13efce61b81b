// The file of remembered models: one JSON array, replaced by rename. Regime: pure.
//
// It is written by the gateway's loop, which must not wait for a disk: only if something has changed, and never synced. After a crash of
// the machine it may be empty, which is no worse than none.
#include "bgworker/model_memory.hpp"

#include <cstdio>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>

namespace steadytext::gateway {

using nlohmann::json;

namespace {

std::string text_of(const char *path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

void recall_models(const char *path, shmem::ModelList &list) {
    std::ifstream file(path);
    const json remembered = json::parse(file, nullptr, false);
    if (!remembered.is_array())
        return;
    for (const json &entry : remembered) {
        if (!entry.is_object() || list.count == shmem::kMaxModels)
            continue;
        shmem::Model &model = list.models[list.count++];
        model.role = static_cast<shmem::ModelRole>(entry.value("role", 0) % static_cast<int>(shmem::kModelRoleCount));
        model.is_default = entry.value("default", false);
        model.dimensions = entry.value("dimensions", 0);
        std::snprintf(model.name, sizeof model.name, "%s", entry.value("name", "").c_str());
        std::snprintf(model.fingerprint, sizeof model.fingerprint, "%s", entry.value("fingerprint", "").c_str());
    }
}

bool remember_models(const char *path, const shmem::ModelList &list) {
    json entries = json::array();
    for (std::uint32_t i = 0; i < list.count; i++) {
        const shmem::Model &model = list.models[i];
        entries.push_back({{"role", static_cast<int>(model.role)},
                           {"default", model.is_default},
                           {"dimensions", model.dimensions},
                           {"name", model.name},
                           {"fingerprint", model.fingerprint}});
    }
    const std::string text = entries.dump(1, ' ', false, json::error_handler_t::replace);
    if (text_of(path) == text)
        return true;
    const std::string draft = std::string(path) + ".new";
    std::FILE *file = std::fopen(draft.c_str(), "w");
    if (file == nullptr)
        return false;
    bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
    written = std::fclose(file) == 0 && written;
    return written && std::rename(draft.c_str(), path) == 0;
}

}  // namespace steadytext::gateway
