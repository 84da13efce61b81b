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
    if (!fingerprint_of(file_, kSettings, stopping_, info.fingerprint, problem))
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
    llama_context_params parameters = llama_context_default_params();
    parameters.n_ctx = parameters.n_batch = static_cast<std::uint32_t>(info.context);
    parameters.n_ubatch = cross_encoder_ ? parameters.n_batch : std::min<std::uint32_t>(512, parameters.n_batch);
    parameters.n_threads = parameters.n_threads_batch = options_.threads;
    parameters.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    parameters.embeddings = cross_encoder_;
    parameters.abort_callback_data = this;
    parameters.abort_callback = [](void *self) { return static_cast<const Reranker *>(self)->is_in_vain(); };
    context_ = make_context(model_.get(), file_.path, parameters, problem);
    batch_.emplace(info.context);
    return context_ != nullptr;
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

float Reranker::read_score() const {
    if (cross_encoder_)
        return static_cast<float>(logistic(*llama_get_embeddings_seq(context_.get(), 0)));
    const float *logits = llama_get_logits_ith(context_.get(), -1);
    return static_cast<float>(logistic(static_cast<double>(logits[yes_]) - logits[no_]));
}

bool Reranker::tokenize(const RankTask &task, std::size_t item, RankProgress &progress, std::string &) const {
    progress.tokens = tokens_of(task, task.documents[item]);
    return true;
}

Reranker::Step Reranker::process(RankProgress &progress, std::string &error) {
    const std::vector<llama_token> &tokens = progress.tokens;
    if (tokens.size() > llama_n_ctx(context_.get())) {
        progress.values.push_back(0);
        return Step::Done;
    }
    batch_->clear();
    for (std::size_t i = 0; i < tokens.size(); i++)
        batch_->add(tokens[i], static_cast<llama_pos>(i), 0, cross_encoder_ || i + 1 == tokens.size());
    const llama_memory_t memory = llama_get_memory(context_.get());
    if (memory != nullptr)
        llama_memory_clear(memory, false);
    const int status =
        memory != nullptr ? llama_decode(context_.get(), batch_->get()) : llama_encode(context_.get(), batch_->get());
    if (status != 0 && is_in_vain())
        return Step::BrokenOff;
    if (status != 0) {
        error = "The engine could not rank the document";
        return Step::Failed;
    }
    progress.values.push_back(read_score());
    progress.prompt_tokens += static_cast<int>(tokens.size());
    return Step::Done;
}

}  // namespace steadytext::daemon
