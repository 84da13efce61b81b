// rank-reference: what llama.cpp itself makes of a query and its documents, one at a time.
//
//     rank-reference MODEL < texts > scores      (texts separated by NUL bytes, a score in a line)
//
// The yardstick of t/313_rerankers.pl; only llama.cpp's own API. A model that pools ranks gets queries and documents in
// turn, and puts [CLS] query [SEP] document [SEP] together as BERT was trained; of any other each text is a whole
// prompt, and the score is the probability of `yes` against `no` as its next token. Regime: pure.
#include <llama.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

namespace {

using Tokens = std::vector<llama_token>;

Tokens tokens_of(const llama_vocab *vocabulary, const std::string &text, bool with_special) {
    Tokens tokens(text.size() + 8);
    const int count = llama_tokenize(vocabulary, text.data(), static_cast<int>(text.size()), tokens.data(),
                                     static_cast<int>(tokens.size()), with_special, with_special);
    tokens.resize(static_cast<std::size_t>(count));
    return tokens;
}

Tokens pair_of(const llama_vocab *vocabulary, const std::string &query, const std::string &document) {
    Tokens tokens = {llama_vocab_bos(vocabulary)};
    for (const std::string &text : {query, document}) {
        Tokens plain = tokens_of(vocabulary, text, true);  // llama.cpp's own special tokens are left out again
        tokens.insert(tokens.end(), plain.begin() + 1, plain.end() - 1);
        tokens.push_back(llama_vocab_sep(vocabulary));
    }
    return tokens;
}

void print_logistic(double x) { std::printf("%.9f\n", 1 / (1 + std::exp(-x))); }

void rank(llama_context *context, Tokens tokens) {
    llama_batch batch = llama_batch_init(static_cast<int>(tokens.size()), 0, 1);
    for (std::size_t i = 0; i < tokens.size(); i++) {
        batch.token[i] = tokens[i];
        batch.pos[i] = static_cast<llama_pos>(i);
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i] = true;
    }
    batch.n_tokens = static_cast<int>(tokens.size());
    if (llama_encode(context, batch) != 0)
        std::exit(1);
    print_logistic(*llama_get_embeddings_seq(context, 0));
    llama_batch_free(batch);
}

void ask(llama_context *context, const llama_vocab *vocabulary, Tokens tokens) {
    llama_memory_clear(llama_get_memory(context), true);
    if (llama_decode(context, llama_batch_get_one(tokens.data(), static_cast<int>(tokens.size()))) != 0)
        std::exit(1);
    const float *logits = llama_get_logits_ith(context, -1);
    print_logistic(static_cast<double>(logits[tokens_of(vocabulary, "yes", false).at(0)]) -
                   logits[tokens_of(vocabulary, "no", false).at(0)]);
}

}  // namespace

int main(int count, char **arguments) {
    if (count != 2)
        return 2;
    llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
    llama_model_params model_parameters = llama_model_default_params();
    model_parameters.n_gpu_layers = 0;
    llama_model *model = llama_model_load_from_file(arguments[1], model_parameters);
    if (model == nullptr)
        return 1;
    const llama_vocab *vocabulary = llama_model_get_vocab(model);
    const bool is_encoder = !llama_model_has_decoder(model) || llama_vocab_type(vocabulary) == LLAMA_VOCAB_TYPE_WPM;
    llama_context_params parameters = llama_context_default_params();
    parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = 512;
    parameters.n_threads = parameters.n_threads_batch = 1;
    parameters.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    parameters.embeddings = is_encoder;
    llama_context *context = llama_init_from_model(model, parameters);
    if (context == nullptr)
        return 1;
    for (std::string text, document; std::getline(std::cin, text, '\0');) {
        if (!is_encoder)
            ask(context, vocabulary, tokens_of(vocabulary, text, true));
        else if (std::getline(std::cin, document, '\0'))
            rank(context, pair_of(vocabulary, text, document));
    }
    return 0;
}
