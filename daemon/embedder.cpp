// Loading, pooling and normalizing: see embedder.hpp. Regime: pure.
#include "daemon/embedder.hpp"

#include <algorithm>
#include <cmath>

#include "daemon/model_file.hpp"

namespace steadytext::daemon {

namespace {

// Longer texts are refused, or cut if they are only compared. A model with a smaller window sets a smaller limit.
constexpr int kWindow = 2048;

// Adds in double, from left to right: the sum is the same whatever code the compiler makes.
void normalize(std::vector<float> &vector) {
    double squares = 0;
    for (const float value : vector)
        squares += static_cast<double>(value) * value;
    if (squares > 0)
        for (float &value : vector)
            value = static_cast<float>(value / std::sqrt(squares));
}

// Keeps the closing token, as some models pool from it.
void cut(std::vector<llama_token> &tokens, std::size_t window) {
    if (tokens.size() <= window)
        return;
    tokens[window - 1] = tokens.back();
    tokens.resize(window);
}

}  // namespace

Context Embedder::make_pooling_context(core::Problem &problem) {
    llama_context_params parameters = llama_context_default_params();
    const int window = std::min(llama_model_n_ctx_train(model_.get()), kWindow);
    parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = static_cast<std::uint32_t>(window);
    parameters.n_threads = parameters.n_threads_batch = options_.threads;
    parameters.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    parameters.embeddings = true;
    parameters.abort_callback_data = &stopping_;
    parameters.abort_callback = [](void *flag) {
        return static_cast<const std::atomic<bool> *>(flag)->load(std::memory_order_relaxed);
    };
    Context context = make_context(model_.get(), options_.embedding_model, parameters, problem);
    if (context == nullptr || llama_pooling_type(context.get()) != LLAMA_POOLING_TYPE_NONE)
        return context;
    parameters.pooling_type = LLAMA_POOLING_TYPE_MEAN;  // a model whose file does not say
    return make_context(model_.get(), options_.embedding_model, parameters, problem);
}

bool Embedder::load(ModelInfo &info, core::Problem &problem) {
    info.role = "embedding";
    info.name = model_name_of(options_.embedding_model);
    if (!fingerprint_of(options_.embedding_model, "embedding prefix=" + options_.embedding_prefix, info.fingerprint,
                        problem))
        return false;
    model_ = load_model(options_.embedding_model, stopping_, problem);
    if (model_ == nullptr)
        return false;
    tokenizer_ = Tokenizer(model_.get());
    context_ = make_pooling_context(problem);
    if (context_ == nullptr)
        return false;
    info.context = static_cast<int>(llama_n_ctx(context_.get()));
    info.dimensions = llama_model_n_embd_out(model_.get());
    batch_.emplace(info.context);
    return true;
}

bool Embedder::process(const EmbedTask &task, std::size_t item, Vectors &result, std::string &error) {
    std::vector<llama_token> tokens = tokenizer_.tokens(options_.embedding_prefix + task.texts[item]);
    const std::size_t window = llama_n_ctx(context_.get());
    if (tokens.size() > window && !task.cuts) {
        error = "Input is beyond the model's window: " + std::to_string(tokens.size()) +
                " tokens. Maximum allowed: " + std::to_string(window);
        return false;
    }
    cut(tokens, window);
    batch_->clear();
    for (std::size_t i = 0; i < tokens.size(); i++)
        batch_->add(tokens[i], static_cast<llama_pos>(i), 0, true);

    const llama_memory_t memory = llama_get_memory(context_.get());
    if (memory != nullptr)
        llama_memory_clear(memory, false);
    const int status =
        memory != nullptr ? llama_decode(context_.get(), batch_->get()) : llama_encode(context_.get(), batch_->get());
    const float *vector = status == 0 ? llama_get_embeddings_seq(context_.get(), 0) : nullptr;
    if (vector == nullptr) {
        error = "The engine could not embed the text";
        return false;
    }
    std::vector<float> &row = result.rows.emplace_back(vector, vector + llama_model_n_embd_out(model_.get()));
    normalize(row);
    result.prompt_tokens += static_cast<int>(tokens.size());
    return true;
}

}  // namespace steadytext::daemon
