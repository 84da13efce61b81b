// Computes the tokens of a text in one step: what embedding and ranking share.
//
// Owned by an engine. Regime: pure. A text of at least kFlashTokens uses flash attention, which takes half the time for 400 tokens; a shorter text
// does not, as llama.cpp's kernel is slower there. So what computes a text, and each bit of the result, depends on the text alone. A model that
// answers in words, and one on a GPU, uses plain attention for all: the first is read in chunks, whose last may be short.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "daemon/llama_model.hpp"
#include "daemon/options.hpp"

namespace steadytext::daemon {

class TextEncoder {
public:
    static constexpr int kFlashTokens = 64;  // of llama.cpp's tiles

    // For a fingerprint: "" where all texts use plain attention.
    [[nodiscard]] static const char *settings(const Options &options) {
        return options.gpu_layers == 0 ? " attention=flash" : "";
    }

    // `is_in_vain` ends a step early, as llama.cpp's abort_callback does with `owner`.
    TextEncoder(const Options &options, ggml_abort_callback is_in_vain, void *owner)
        : options_(options), is_in_vain_(is_in_vain), owner_(owner) {}

    // Of texts up to `window` tokens: a vector for each. A model whose file names no pooling takes the mean.
    [[nodiscard]] bool begin_vectors(llama_model *model, const std::string &path, int window, core::Problem &problem);
    // The logits behind the last token.
    [[nodiscard]] bool begin_words(llama_model *model, const std::string &path, int window, core::Problem &problem);

    [[nodiscard]] std::size_t window() const { return llama_n_ctx(long_.get()); }
    // At most window() tokens. Null: the engine failed, or is_in_vain. Else the context that has the result, until the next call.
    [[nodiscard]] llama_context *compute(const std::vector<llama_token> &tokens);

private:
    [[nodiscard]] llama_context_params parameters(int window) const;

    const Options &options_;
    const ggml_abort_callback is_in_vain_;
    void *const owner_;
    bool gives_vectors_ = false;
    Context short_;  // where there is flash attention: for texts that do not use it
    Context long_;
    std::optional<Batch> batch_;
};

}  // namespace steadytext::daemon
