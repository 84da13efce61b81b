// Reads the directory, not what lies below it: see model_directory.hpp. Regime: pure.
#include "daemon/model_directory.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "src/core/utf8.hpp"

namespace steadytext::daemon {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMostNameBytes = 127;  // the extension's longest

// A model's name stands in answers, logs and settings.
bool is_fit(const std::string &name) {
    return !name.empty() && name.size() <= kMostNameBytes && name.front() != '.' && core::utf8_is_valid(name) &&
           std::none_of(name.begin(), name.end(), [](char c) {
               const auto byte = static_cast<unsigned char>(c);
               return byte < 0x20 || byte == 0x7F;
           });
}

// Where the file really lies; empty if that is not in `directory` itself, or there is none.
std::string real_path(const fs::path &directory, const fs::path &file) {
    std::error_code error;
    const fs::path real = fs::canonical(file, error);
    return error || real.parent_path() != directory ? std::string() : real.string();
}

bool read_identity(const std::string &path, FileIdentity &identity) {
    struct stat status = {};
    if (stat(path.c_str(), &status) != 0)
        return false;
    identity = {status.st_dev, status.st_ino, static_cast<std::uint64_t>(status.st_size),
                status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec};
    return S_ISREG(status.st_mode);
}

void look_into(FoundModel &model, const std::vector<FoundModel> &known) {
    const auto same = std::lower_bound(known.begin(), known.end(), model,
                                       [](const FoundModel &a, const FoundModel &b) { return a.name < b.name; });
    if (same != known.end() && same->path == model.path && same->identity == model.identity) {
        model = *same;
        return;
    }
    core::Problem problem;
    if (!read_gguf_header(model.path, model.header, problem))
        model.why_not = problem.message;
    else if (model.header.is_part)
        model.why_not = "it is one of several parts: join them with llama-gguf-split --merge";
}

}  // namespace

bool is_directory(const std::string &path) {
    std::error_code error;
    return fs::is_directory(path, error);
}

bool list_models(const std::string &path, const std::vector<FoundModel> &known, std::vector<FoundModel> &models,
                 core::Problem &problem) {
    std::error_code error;
    const fs::path directory = fs::canonical(path, error);
    if (error)
        return problem.set(core::sqlstate::kInvalidParameterValue, "could not open directory \"%s\": %s", path.c_str(),
                           error.message().c_str());
    fs::directory_iterator entry(directory, error);
    for (; !error && entry != fs::directory_iterator() && models.size() < kMostFoundModels; entry.increment(error)) {
        const fs::path &file = entry->path();
        if (file.extension() != ".gguf")
            continue;
        FoundModel model{.name = file.stem().string(), .path = real_path(directory, file)};
        if (!is_fit(model.name) || model.path.empty() || !read_identity(model.path, model.identity))
            continue;
        models.push_back(std::move(model));
    }
    if (error)
        return problem.set(core::sqlstate::kInvalidParameterValue, "could not read directory \"%s\": %s", path.c_str(),
                           error.message().c_str());
    std::sort(models.begin(), models.end(), [](const auto &a, const auto &b) { return a.name < b.name; });
    for (FoundModel &model : models)
        look_into(model, known);
    return true;
}

}  // namespace steadytext::daemon
