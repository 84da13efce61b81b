// Loading, pooling and normalizing: see embedder.hpp. Regime: pure.
#include "daemon/embedder.hpp"

#include <algorithm>
#include <cmath>
#include <functional>

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

// The overflow that refuses a text changes no vector.
std::string Embedder::settings(const Options &options) {
    constexpr const char *kOverflows[] = {"", " overflow=cut", " overflow=mean"};
    return "embedding prefix=" + options.embedding_prefix +
           kOverflows[static_cast<std::size_t>(options.embedding_overflow)] + TextEncoder::settings(options);
}

bool Embedder::load(ModelInfo &info, core::Problem &problem) {
    info.role = "embedding";
    info.name = file_.name;
    if (!fingerprint_of(file_, settings(options_), stopping_, info.fingerprint, problem))
        return false;
    model_ = load_model(file_.path, stopping_, problem);
    if (model_ == nullptr)
        return false;
    tokenizer_ = Tokenizer(model_.get());
    counter_.start(tokenizer_);
    if (!encoder_.begin_vectors(model_.get(), file_.path, std::min(llama_model_n_ctx_train(model_.get()), kWindow),
                                problem))
        return false;
    info.context = static_cast<int>(encoder_.window());
    info.dimensions = llama_model_n_embd_out(model_.get());
    return true;
}

// The tokens of the text, or of its windows. False if it is too long.
bool Embedder::tokenize(const EmbedTask &task, std::size_t item, EmbedProgress &progress, std::string &error) const {
    const std::string &text = task.texts[item];
    std::vector<llama_token> tokens = tokenizer_.tokens(options_.embedding_prefix + text);
    const std::size_t window = encoder_.window();
    const Overflow overflow = task.is_compared ? Overflow::Cut : options_.embedding_overflow;
    if (tokens.size() > window && overflow == Overflow::Error) {
        error = "Input is beyond the model's window: " + std::to_string(tokens.size()) +
                " tokens. Maximum allowed: " + std::to_string(window);
        return false;
    }
    if (tokens.size() > window && overflow == Overflow::Mean) {
        progress.windows = tokenizer_.windows(options_.embedding_prefix, text, window);
        return true;
    }
    progress.cut_tokens += static_cast<int>(tokens.size() - std::min(tokens.size(), window));
    cut(tokens, window);
    progress.windows.push_back(std::move(tokens));
    return true;
}

// A window of the text. The vector of several is the average of theirs, each of length 1.
Embedder::Step Embedder::process(EmbedProgress &progress, std::string &error) {
    llama_context *context = encoder_.compute(progress.windows.front());
    const float *vector = context == nullptr ? nullptr : llama_get_embeddings_seq(context, 0);
    if (vector == nullptr && is_in_vain())
        return Step::BrokenOff;
    const std::vector<llama_token> tokens = std::move(progress.windows.front());
    progress.windows.pop_front();
    if (vector == nullptr) {
        error = "The engine could not embed the text";
        return Step::Failed;
    }
    progress.prompt_tokens += static_cast<int>(tokens.size());
    std::vector<float> row(vector, vector + llama_model_n_embd_out(model_.get()));
    normalize(row);
    if (!progress.windows.empty() || !progress.sum.empty()) {
        progress.sum.resize(row.size());
        std::transform(row.begin(), row.end(), progress.sum.begin(), progress.sum.begin(), std::plus<>());
        if (!progress.windows.empty())
            return Step::Partly;
        row.assign(progress.sum.begin(), progress.sum.end());
        normalize(row);
        progress.sum.clear();
    }
    progress.rows.push_back(std::move(row));
    return Step::Done;
}

}  // namespace steadytext::daemon
