// Two contexts, and one step: see text_encoder.hpp. Regime: pure.
#include "daemon/text_encoder.hpp"

#include <algorithm>

namespace steadytext::daemon {

llama_context_params TextEncoder::parameters(int window) const {
    llama_context_params parameters = llama_context_default_params();
    parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = static_cast<std::uint32_t>(window);
    parameters.n_threads = parameters.n_threads_batch = options_.threads;
    parameters.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    parameters.embeddings = gives_vectors_;
    parameters.abort_callback = is_in_vain_;
    parameters.abort_callback_data = owner_;
    return parameters;
}

bool TextEncoder::begin_vectors(llama_model *model, const std::string &path, int window, core::Problem &problem) {
    gives_vectors_ = true;
    const bool has_flash = options_.gpu_layers == 0 && window >= kFlashTokens;
    llama_context_params wanted = parameters(has_flash ? kFlashTokens : window);
    short_ = make_context(model, path, wanted, problem);
    if (short_ != nullptr && llama_pooling_type(short_.get()) == LLAMA_POOLING_TYPE_NONE) {
        wanted.pooling_type = LLAMA_POOLING_TYPE_MEAN;
        short_ = make_context(model, path, wanted, problem);
    }
    if (short_ == nullptr)
        return false;
    batch_.emplace(window);
    if (!has_flash) {
        long_ = std::move(short_);
        return true;
    }
    wanted.n_ctx = wanted.n_batch = wanted.n_ubatch = static_cast<std::uint32_t>(window);
    wanted.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_ENABLED;
    long_ = make_context(model, path, wanted, problem);
    return long_ != nullptr;
}

bool TextEncoder::begin_words(llama_model *model, const std::string &path, int window, core::Problem &problem) {
    llama_context_params wanted = parameters(window);
    wanted.n_ubatch = std::min<std::uint32_t>(512, wanted.n_batch);
    long_ = make_context(model, path, wanted, problem);
    batch_.emplace(window);
    return long_ != nullptr;
}

llama_context *TextEncoder::compute(const std::vector<llama_token> &tokens) {
    const bool is_short = short_ != nullptr && tokens.size() < kFlashTokens;
    llama_context *context = is_short ? short_.get() : long_.get();
    batch_->clear();
    for (std::size_t i = 0; i < tokens.size(); i++)
        batch_->add(tokens[i], static_cast<llama_pos>(i), 0, gives_vectors_ || i + 1 == tokens.size());
    const llama_memory_t memory = llama_get_memory(context);
    if (memory != nullptr)
        llama_memory_clear(memory, false);
    const int status = memory != nullptr ? llama_decode(context, batch_->get()) : llama_encode(context, batch_->get());
    return status == 0 ? context : nullptr;
}

}  // namespace steadytext::daemon
