// The engine that embeds: a vector of length 1 per text, pooled as the model's file says.
//
// Owned by the server. Regime: pure.
#pragma once

#include <utility>

#include "daemon/item_engine.hpp"
#include "daemon/llama_model.hpp"
#include "daemon/model_file.hpp"
#include "daemon/options.hpp"
#include "daemon/text_encoder.hpp"
#include "daemon/token_counter.hpp"
#include "daemon/tokenizer.hpp"

namespace steadytext::daemon {

class Embedder final : public ItemEngine<EmbedTask, Vectors, EmbedProgress> {
public:
    Embedder(const Options &options, ModelFile file, Outbox &outbox)
        : ItemEngine(outbox), options_(options), file_(std::move(file)), counter_(outbox) {
        start();
    }
    ~Embedder() override { stop(); }

    // All that can change a vector, for the fingerprint.
    [[nodiscard]] static std::string settings(const Options &options);

    using ItemEngine::submit;
    void submit(Job<CountTask> job) { counter_.submit(std::move(job)); }

private:
    bool load(ModelInfo &info, core::Problem &problem) override;
    std::size_t count_items(const EmbedTask &task) const override { return task.texts.size(); }
    std::size_t bytes_of(const EmbedTask &task, std::size_t item) const override { return task.texts[item].size(); }
    bool tokenize(const EmbedTask &task, std::size_t item, EmbedProgress &progress, std::string &error) const override;
    Step process(EmbedProgress &progress, std::string &error) override;

    const Options &options_;
    const ModelFile file_;
    Model model_;
    TextEncoder encoder_{options_, [](void *self) { return static_cast<const Embedder *>(self)->is_in_vain(); }, this};
    Tokenizer tokenizer_;
    TokenCounter counter_;
};

}  // namespace steadytext::daemon
