// Loading, joining query and document, and reading the score: see reranker.hpp. Regime: pure.
#include "daemon/reranker.hpp"

#include <algorithm>
#include <cmath>

namespace steadytext::daemon {

namespace {

// A document that does not fit beside the query scores 0, as in the original daemon.
constexpr int kWindow = 8192;

// What stands around the texts, as Qwen3-Reranker wants it.
constexpr std::string_view kBefore =
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    "provided. "
    "Note that the answer can only be \"yes\" or \"no\".<|im_end|>\n<|im_start|>user\n<Instruct>: ";
constexpr std::string_view kAfter = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n";

llama_token single_token(const llama_model *model, std::string_view word) {
    llama_token tokens[4];
    const int count = llama_tokenize(llama_model_get_vocab(model), word.data(), static_cast<int>(word.size()), tokens,
                                     std::size(tokens), false, false);
    return count == 1 ? tokens[0] : LLAMA_TOKEN_NULL;
}

double logistic(double x) { return 1 / (1 + std::exp(-x)); }

}  // namespace

// A property that the model's file gives for its architecture; empty if there is none.
std::string Reranker::property(const char *name) const {
    char architecture[128] = "";
    llama_model_meta_val_str(model_.get(), "general.architecture", architecture, sizeof architecture);
    char value[16] = "";
    llama_model_meta_val_str(model_.get(), (std::string(architecture) + "." + name).c_str(), value, sizeof value);
    return value;
}

bool Reranker::load(ModelInfo &info, core::Problem &problem) {
    info.role = "reranker";
    info.name = file_.name;
    if (!fingerprint_of(file_, settings(options_), stopping_, info.fingerprint, problem))
        return false;
    model_ = load_model(file_.path, stopping_, problem);
    if (model_ == nullptr)
        return false;
    cross_encoder_ = property("pooling_type") == std::to_string(LLAMA_POOLING_TYPE_RANK);
    tokenizer_ = Tokenizer(model_.get(), std::string(kBefore).append(kAfter));
    before_ = tokenizer_.parse(kBefore);
    after_ = tokenizer_.parse(kAfter);
    yes_ = single_token(model_.get(), "yes");
    no_ = single_token(model_.get(), "no");
    const bool answers = property("attention.causal") != "false" && yes_ != LLAMA_TOKEN_NULL && no_ != LLAMA_TOKEN_NULL;
    if (!cross_encoder_ && !answers)
        return problem.set(core::sqlstate::kInvalidParameterValue, "\"%s\" is not a reranker", file_.path.c_str());

    info.context = std::min(llama_model_n_ctx_train(model_.get()), kWindow);
    return cross_encoder_ ? encoder_.begin_vectors(model_.get(), file_.path, info.context, problem)
                          : encoder_.begin_words(model_.get(), file_.path, info.context, problem);
}

std::vector<llama_token> Reranker::tokens_of(const RankTask &task, const std::string &document) const {
    if (!cross_encoder_) {
        PromptWriter writer(tokenizer_);
        writer.add_markup(before_);
        for (const std::string_view text :
             {std::string_view(task.instruction), std::string_view("\n<Query>: "), std::string_view(task.query),
              std::string_view("\n<Document>: "), std::string_view(document)})
            writer.add_text(text);
        writer.add_markup(after_);
        return writer.finish();
    }
    // Both texts come as [begin] text [end]. BERT's end token is also the separator between the texts; RoBERTa has
    // another separator token behind it.
    const llama_vocab *vocabulary = llama_model_get_vocab(model_.get());
    std::vector<llama_token> tokens = tokenizer_.tokens(task.query);
    const std::vector<llama_token> rest = tokenizer_.tokens(document);
    if (llama_vocab_get_add_eos(vocabulary))
        tokens.push_back(llama_vocab_sep(vocabulary) != LLAMA_TOKEN_NULL ? llama_vocab_sep(vocabulary)
                                                                         : llama_vocab_eos(vocabulary));
    tokens.insert(tokens.end(), rest.begin() + llama_vocab_get_add_bos(vocabulary), rest.end());
    return tokens;
}

float Reranker::read_score(llama_context *context) const {
    if (cross_encoder_)
        return static_cast<float>(logistic(*llama_get_embeddings_seq(context, 0)));
    const float *logits = llama_get_logits_ith(context, -1);
    return static_cast<float>(logistic(static_cast<double>(logits[yes_]) - logits[no_]));
}

bool Reranker::tokenize(const RankTask &task, std::size_t item, RankProgress &progress, std::string &) const {
    progress.tokens = tokens_of(task, task.documents[item]);
    return true;
}

Reranker::Step Reranker::process(RankProgress &progress, std::string &error) {
    const std::vector<llama_token> &tokens = progress.tokens;
    if (tokens.size() > encoder_.window()) {
        progress.values.push_back(0);
        return Step::Done;
    }
    llama_context *context = encoder_.compute(tokens);
    if (context == nullptr && is_in_vain())
        return Step::BrokenOff;
    if (context == nullptr) {
        error = "The engine could not rank the document";
        return Step::Failed;
    }
    progress.values.push_back(read_score(context));
    progress.prompt_tokens += static_cast<int>(tokens.size());
    return Step::Done;
}

}  // namespace steadytext::daemon
