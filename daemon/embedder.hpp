// The engine that embeds: a vector of length 1 per text, pooled as the model's file says.
//
// Owned by the server. Regime: pure.
#pragma once

#include <optional>

#include "daemon/item_engine.hpp"
#include "daemon/llama_model.hpp"
#include "daemon/options.hpp"
#include "daemon/tokenizer.hpp"

namespace steadytext::daemon {

class Embedder final : public ItemEngine<EmbedTask, Vectors> {
public:
    Embedder(const Options &options, Outbox &outbox) : ItemEngine(outbox), options_(options) { start(); }
    ~Embedder() override { stop(); }

private:
    bool load(ModelInfo &info, core::Problem &problem) override;
    std::size_t count_items(const EmbedTask &task) const override { return task.texts.size(); }
    bool process(const EmbedTask &task, std::size_t item, Vectors &result, std::string &error) override;

    [[nodiscard]] Context make_pooling_context(core::Problem &problem);

    const Options &options_;
    Model model_;
    Context context_;
    Tokenizer tokenizer_;
    std::optional<Batch> batch_;
};

}  // namespace steadytext::daemon
