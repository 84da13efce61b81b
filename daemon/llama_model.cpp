// Handles, loading and tokenizing: see llama_model.hpp. Regime: pure.
#include "daemon/llama_model.hpp"

#include <common/log.h>
#include <dlfcn.h>
#include <ggml-backend.h>
#include <link.h>

#include <algorithm>
#include <mutex>
#include <utility>

#include "daemon/log.hpp"

namespace steadytext::daemon {

namespace {

// The last error that llama.cpp logged, as its API tells only that something failed. Engines may load at the same time,
// so a reason may belong to the other model; then both have failed.
std::mutex last_error_mutex;
std::string last_error;

int layers_on_gpu = 0;  // written before there are other threads

void keep_error(ggml_log_level level, const char *text, void *) {
    if (level != GGML_LOG_LEVEL_ERROR)
        return;
    const std::lock_guard lock(last_error_mutex);
    last_error = text;
    while (!last_error.empty() && last_error.back() == '\n')
        last_error.pop_back();
}

std::string take_last_error() {
    const std::lock_guard lock(last_error_mutex);
    return std::exchange(last_error, {});
}

std::string kernels;  // the library of them, where there are several; written before there are other threads

#ifdef STEADYTEXT_LOADS_BACKENDS
// A portable build has a library of kernels for each generation of processors, where ggml's own library lies. The best
// for this one is loaded, and a GPU's if there is one.
bool load_backends(core::Problem &problem) {
    Dl_info library = {};
    if (dladdr(reinterpret_cast<void *>(ggml_backend_load_all_from_path), &library) != 0) {
        const std::string path = library.dli_fname;
        ggml_backend_load_all_from_path(path.substr(0, path.rfind('/')).c_str());
    }
    dl_iterate_phdr(
        [](dl_phdr_info *loaded, std::size_t, void *) {
            constexpr std::string_view kBefore = "libggml-cpu-";
            const std::string_view path = loaded->dlpi_name;
            if (const std::size_t at = path.rfind(kBefore); at != std::string_view::npos)
                kernels = path.substr(at + kBefore.size(), path.rfind(".so") - at - kBefore.size());
            return 0;
        },
        nullptr);
    return ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU) != nullptr ||
           problem.set(core::sqlstate::kPrerequisiteState, "there are no kernels for this processor in \"%s\"",
                       library.dli_fname);
}
#else
bool load_backends(core::Problem &) { return true; }
#endif

bool load_failed(const char *what, const std::string &path, core::Problem &problem) {
    problem.set(core::sqlstate::kInvalidParameterValue, "could not %s model \"%s\"", what, path.c_str());
    problem.with_detail("%s", take_last_error().c_str());
    return false;
}

}  // namespace

void Batch::add(llama_token token, llama_pos position, llama_seq_id sequence, bool output) noexcept {
    const int at = batch_.n_tokens++;
    batch_.token[at] = token;
    batch_.pos[at] = position;
    batch_.n_seq_id[at] = 1;
    batch_.seq_id[at][0] = sequence;
    batch_.logits[at] = output;
}

bool prepare_llama(int gpu_layers, core::Problem &problem) {
    common_log_set_verbosity_thold(-1);
    llama_log_set(keep_error, nullptr);
    if (!load_backends(problem))
        return false;
    llama_backend_init();
    if (gpu_layers > 0 && !llama_supports_gpu_offload())
        log_line("no GPU that this is built for is here, so --gpu-layers has no effect");
    else
        layers_on_gpu = gpu_layers;
    return true;
}

std::string device_settings() {
    std::string settings = kernels.empty() ? "" : " kernels=" + kernels;
    if (layers_on_gpu == 0)
        return settings;
    settings += " gpu_layers=" + std::to_string(layers_on_gpu);
    for (std::size_t i = 0; i < ggml_backend_dev_count(); i++)
        if (ggml_backend_dev_type(ggml_backend_dev_get(i)) == GGML_BACKEND_DEVICE_TYPE_GPU)
            settings.append(" on ").append(ggml_backend_dev_description(ggml_backend_dev_get(i)));
    return settings;
}

Model load_model(const std::string &path, const std::atomic<bool> &stopping, core::Problem &problem) {
    llama_model_params parameters = llama_model_default_params();
    parameters.n_gpu_layers = layers_on_gpu;
    parameters.progress_callback_user_data = const_cast<std::atomic<bool> *>(&stopping);
    parameters.progress_callback = [](float, void *flag) {
        return !static_cast<const std::atomic<bool> *>(flag)->load(std::memory_order_relaxed);
    };
    Model model(llama_model_load_from_file(path.c_str(), parameters));
    if (model == nullptr)
        load_failed("load", path, problem);
    return model;
}

Context make_context(llama_model *model, const std::string &path, const llama_context_params &parameters,
                     core::Problem &problem) {
    Context context(llama_init_from_model(model, parameters));
    if (context == nullptr)
        load_failed("make room for", path, problem);
    return context;
}

std::string piece_of(const llama_vocab *vocabulary, llama_token token) {
    char buffer[256];
    const int length = llama_token_to_piece(vocabulary, token, buffer, sizeof buffer, 0, false);
    return {buffer, static_cast<std::size_t>(std::max(length, 0))};
}

}  // namespace steadytext::daemon
