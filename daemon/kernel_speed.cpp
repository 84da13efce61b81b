// Products of matrices, laid out in memory as llama.cpp lays out a model's: see kernel_speed.hpp. Regime: pure.
#include "daemon/kernel_speed.hpp"

#include <ggml-alloc.h>
#include <ggml-backend.h>

#include <algorithm>
#include <chrono>
#include <memory>

namespace steadytext::daemon {

namespace {

constexpr ggml_type kTypes[] = {GGML_TYPE_Q4_0, GGML_TYPE_Q4_1, GGML_TYPE_IQ4_NL, GGML_TYPE_Q4_K,
                                GGML_TYPE_Q5_K, GGML_TYPE_Q6_K, GGML_TYPE_Q8_0,   GGML_TYPE_F16};
constexpr std::int64_t kPromptTokens = 64;

template <auto kFree>
struct Freed {
    template <typename T>
    void operator()(T *object) const noexcept {
        kFree(object);
    }
};
using Backend = std::unique_ptr<ggml_backend, Freed<ggml_backend_free>>;
using Tensors = std::unique_ptr<ggml_context, Freed<ggml_free>>;
using Memory = std::unique_ptr<ggml_backend_buffer, Freed<ggml_backend_buffer_free>>;

Tensors new_tensors() {
    return Tensors(ggml_init({.mem_size = 16 * ggml_tensor_overhead() + ggml_graph_overhead(), .no_alloc = true}));
}

// The kind of memory, if there is one, in which the processor has its own layout for such weights.
ggml_backend_buffer_type_t memory_for(ggml_backend_t backend, ggml_tensor *weights, ggml_tensor *product) {
    const ggml_backend_dev_t device = ggml_backend_get_device(backend);
    const auto all = reinterpret_cast<ggml_backend_dev_get_extra_bufts_t>(
        ggml_backend_reg_get_proc_address(ggml_backend_dev_backend_reg(device), "ggml_backend_dev_get_extra_bufts"));
    for (ggml_backend_buffer_type_t *type = all == nullptr ? nullptr : all(device); type != nullptr && *type != nullptr;
         type++) {
        const Memory none(ggml_backend_buft_alloc_buffer(*type, 0));
        weights->buffer = none.get();
        const bool takes_it = none != nullptr && ggml_backend_dev_supports_op(device, product);
        weights->buffer = nullptr;
        if (takes_it)
            return *type;
    }
    return ggml_backend_get_default_buffer_type(backend);
}

void fill(ggml_tensor *weights) {
    std::vector<float> numbers(static_cast<std::size_t>(ggml_nelements(weights)));
    std::uint32_t state = 1;
    for (float &number : numbers) {
        state = state * 1664525 + 1013904223;
        number = static_cast<float>(state >> 8) / (1 << 24) - 0.5F;
    }
    std::vector<std::uint8_t> bytes(ggml_nbytes(weights));
    ggml_quantize_chunk(weights->type, numbers.data(), bytes.data(), 0, weights->ne[1], weights->ne[0], nullptr);
    ggml_backend_tensor_set(weights, bytes.data(), 0, bytes.size());
}

// Seconds of a product, the best of several.
double seconds(ggml_backend_t backend, ggml_cgraph *graph) {
    using Clock = std::chrono::steady_clock;
    constexpr std::chrono::duration<double> kLeast(0.05);
    constexpr int kRuns = 3;
    double best = 1e9;
    const auto start = Clock::now();
    for (int run = 0; run < kRuns || Clock::now() - start < kLeast; run++) {
        const auto begin = Clock::now();
        ggml_backend_graph_compute(backend, graph);
        best = std::min(best, std::chrono::duration<double>(Clock::now() - begin).count());
    }
    return best;
}

double seconds_of_token(ggml_backend_t backend, ggml_type type, std::int64_t width, std::int64_t rows,
                        std::int64_t tokens) {
    const Tensors of_model = new_tensors(), of_step = new_tensors();
    ggml_tensor *weights = ggml_new_tensor_2d(of_model.get(), type, width, rows);
    ggml_tensor *input = ggml_new_tensor_2d(of_step.get(), GGML_TYPE_F32, width, tokens);
    ggml_tensor *product = ggml_mul_mat(of_step.get(), weights, input);
    const Memory model(ggml_backend_alloc_ctx_tensors_from_buft(of_model.get(), memory_for(backend, weights, product)));
    const Memory step(ggml_backend_alloc_ctx_tensors(of_step.get(), backend));
    if (model == nullptr || step == nullptr)
        return 0;
    fill(weights);
    const std::vector<float> ones(static_cast<std::size_t>(ggml_nelements(input)), 1.0F);
    ggml_backend_tensor_set(input, ones.data(), 0, ones.size() * sizeof(float));
    ggml_cgraph *graph = ggml_new_graph(of_step.get());
    ggml_build_forward_expand(graph, product);
    return seconds(backend, graph) / static_cast<double>(tokens);
}

}  // namespace

std::vector<KernelSpeed> measure_kernels(std::int64_t width, std::int64_t size, int threads) {
    const Backend backend(ggml_backend_init_by_type(GGML_BACKEND_DEVICE_TYPE_CPU, nullptr));
    std::vector<KernelSpeed> speeds;
    if (backend == nullptr)
        return speeds;
    const ggml_backend_reg_t registry = ggml_backend_dev_backend_reg(ggml_backend_get_device(backend.get()));
    if (const auto set_threads = reinterpret_cast<ggml_backend_set_n_threads_t>(
            ggml_backend_reg_get_proc_address(registry, "ggml_backend_set_n_threads")))
        set_threads(backend.get(), threads);
    constexpr std::int64_t kRowsTogether = 64;  // that some layouts want
    const std::int64_t rows = std::max<std::int64_t>(1, size / width / kRowsTogether) * kRowsTogether;
    for (const ggml_type type : kTypes) {
        if (width % ggml_blck_size(type) != 0)
            continue;
        const KernelSpeed speed{type, seconds_of_token(backend.get(), type, width, rows, kPromptTokens),
                                seconds_of_token(backend.get(), type, width, rows, 1)};
        if (speed.prompt > 0 && speed.decoded > 0)  // there was memory for it
            speeds.push_back(speed);
    }
    return speeds;
}

}  // namespace steadytext::daemon
