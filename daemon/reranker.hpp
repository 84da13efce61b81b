// The engine that ranks with a reranker model: how well each document answers the query, from 0 to 1.
//
// Owned by the server, if a reranker model is given. Knows two kinds of model: cross-encoders, whose file says to pool
// a rank, and causal models (Qwen3-Reranker), which are asked a question and whose next token is read as yes or no.
// Regime: pure.
#pragma once

#include <optional>
#include <string_view>
#include <utility>

#include "daemon/item_engine.hpp"
#include "daemon/llama_model.hpp"
#include "daemon/model_file.hpp"
#include "daemon/options.hpp"
#include "daemon/text_encoder.hpp"
#include "daemon/tokenizer.hpp"

namespace steadytext::daemon {

class Reranker final : public ItemEngine<RankTask, Scores, RankProgress> {
public:
    Reranker(const Options &options, ModelFile file, Outbox &outbox)
        : ItemEngine(outbox), options_(options), file_(std::move(file)) {
        start();
    }
    ~Reranker() override { stop(); }

    // All that can change a score, for the fingerprint.
    [[nodiscard]] static std::string settings(const Options &options) {
        return std::string("reranker user_text=plain") + TextEncoder::settings(options);
    }

private:
    bool load(ModelInfo &info, core::Problem &problem) override;
    std::size_t count_items(const RankTask &task) const override { return task.documents.size(); }
    std::size_t bytes_of(const RankTask &task, std::size_t item) const override {
        return task.query.size() + task.documents[item].size();
    }
    bool tokenize(const RankTask &task, std::size_t item, RankProgress &progress, std::string &error) const override;
    Step process(RankProgress &progress, std::string &error) override;

    [[nodiscard]] std::string property(const char *name) const;
    [[nodiscard]] std::vector<llama_token> tokens_of(const RankTask &task, const std::string &document) const;
    [[nodiscard]] float read_score(llama_context *context) const;

    const Options &options_;
    const ModelFile file_;
    Model model_;
    TextEncoder encoder_{options_, [](void *self) { return static_cast<const Reranker *>(self)->is_in_vain(); }, this};
    Tokenizer tokenizer_;
    Tokenizer::Markup before_;  // the texts, if a causal model is asked
    Tokenizer::Markup after_;
    bool cross_encoder_ = false;
    llama_token yes_ = 0;  // of a causal model
    llama_token no_ = 0;
};

}  // namespace steadytext::daemon
