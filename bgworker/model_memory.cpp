// The file of remembered models: a JSON array, replaced by rename: see model_memory.hpp. Regime: pure.
//
// The gateway's loop writes it and must not wait for a disk, so the file is written only if something has changed, and
// never synced. After a crash of the machine it may be empty, which is no worse than no file.
#include "bgworker/model_memory.hpp"

#include "src/core/reply.hpp"

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

// Reads a text that fits into `target`; false if there is none.
template <std::size_t Size>
bool read_text(const json &entry, const char *key, char (&target)[Size]) {
    const auto found = entry.find(key);
    if (found == entry.end() || !found->is_string() || found->get_ref<const std::string &>().size() >= Size)
        return false;
    std::snprintf(target, Size, "%s", found->get_ref<const std::string &>().c_str());
    return true;
}

// The file belongs to the gateway, but the gateway must start whatever the file contains: so each member is checked by
// its type.
bool read_model(const json &entry, shmem::Model &model) {
    if (!entry.is_object())
        return false;
    const auto role = entry.find("role"), is_default = entry.find("default"), dimensions = entry.find("dimensions");
    const auto takes_any = entry.find("takes_any"), ranks = entry.find("ranks");
    if (role == entry.end() || !role->is_number_unsigned() || role->get<std::uint64_t>() >= shmem::kModelRoleCount)
        return false;
    model.role = static_cast<shmem::ModelRole>(role->get<std::uint64_t>());
    model.is_default = is_default != entry.end() && is_default->is_boolean() && is_default->get<bool>();
    model.takes_any = takes_any != entry.end() && takes_any->is_boolean() && takes_any->get<bool>();
    model.ranks = ranks == entry.end() || !ranks->is_boolean() || ranks->get<bool>();
    if (dimensions != entry.end() && dimensions->is_number_unsigned() &&
        dimensions->get<std::uint64_t>() <= core::kMaxDimensions)
        model.dimensions = static_cast<std::int32_t>(dimensions->get<std::uint64_t>());
    return read_text(entry, "name", model.name) && read_text(entry, "fingerprint", model.fingerprint);
}

}  // namespace

std::vector<shmem::Model> recall_models(const char *path) {
    std::vector<shmem::Model> models;
    std::ifstream file(path);
    const json remembered = json::parse(file, nullptr, false);
    if (!remembered.is_array())
        return models;
    for (const json &entry : remembered) {
        shmem::Model model;
        if (models.size() < shmem::ModelTable::kMost && read_model(entry, model))
            models.push_back(model);
    }
    return models;
}

bool remember_models(const char *path, const std::vector<shmem::Model> &models) {
    json entries = json::array();
    for (const shmem::Model &model : models) {
        entries.push_back({{"role", static_cast<int>(model.role)},
                           {"default", model.is_default},
                           {"takes_any", model.takes_any},
                           {"ranks", model.ranks},
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
