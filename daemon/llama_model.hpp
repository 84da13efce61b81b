// The engines' common use of llama.cpp: owning handles, loading with a readable reason for failure, texts of tokens.
//
// Each engine's thread has its own model and context. Regime: pure.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <llama.h>

#include "src/core/problem.hpp"

namespace steadytext::daemon {

struct LlamaDeleter {
    void operator()(llama_model *model) const noexcept { llama_model_free(model); }
    void operator()(llama_context *context) const noexcept { llama_free(context); }
    void operator()(llama_sampler *sampler) const noexcept { llama_sampler_free(sampler); }
};

using Model = std::unique_ptr<llama_model, LlamaDeleter>;
using Context = std::unique_ptr<llama_context, LlamaDeleter>;
using Sampler = std::unique_ptr<llama_sampler, LlamaDeleter>;

// A batch that grows by tokens, for llama_decode.
class Batch {
public:
    explicit Batch(int capacity) : batch_(llama_batch_init(capacity, 0, 1)) {}
    Batch(const Batch &) = delete;
    Batch &operator=(const Batch &) = delete;
    ~Batch() { llama_batch_free(batch_); }

    void clear() noexcept { batch_.n_tokens = 0; }
    void add(llama_token token, llama_pos position, llama_seq_id sequence, bool output) noexcept;
    [[nodiscard]] const llama_batch &get() const noexcept { return batch_; }
    [[nodiscard]] int size() const noexcept { return batch_.n_tokens; }

private:
    llama_batch batch_;
};

// Call once, before any other call: llama.cpp's own messages are kept for load_model and printed nowhere. `gpu_layers` of
// each model are computed on a GPU, if this is built for one. False if there are no kernels for this processor.
[[nodiscard]] bool prepare_llama(int gpu_layers, core::Problem &problem);

// What computes, as part of a fingerprint: kernels that were chosen at start, and GPUs. Empty where the build knows.
[[nodiscard]] std::string device_settings();

// `stopping` ends a long load early.
[[nodiscard]] Model load_model(const std::string &path, const std::atomic<bool> &stopping, core::Problem &problem);
[[nodiscard]] Context make_context(llama_model *model, const std::string &path, const llama_context_params &parameters,
                                   core::Problem &problem);

// The text that a token writes; control tokens write nothing.
[[nodiscard]] std::string piece_of(const llama_vocab *vocabulary, llama_token token);

}  // namespace steadytext::daemon
