// greedy-reference: what llama.cpp itself answers, one sequence at a time and nothing else in the way.
//
//     greedy-reference MODEL TOKENS < prompts > answers        (both separated by NUL bytes)
//
// The yardstick of t/311_greedy.pl. Only llama.cpp's own API with its default parameters, flash attention off as
// in steadytextd: one user turn, the whole prompt in one batch, then the greatest logit of each step. Regime: pure.
#include <common/chat.h>
#include <llama.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

namespace {

// The model's own template, applied as llama.cpp's tools apply it.
std::vector<llama_token> tokens_of(const llama_model *model, const std::string &prompt) {
    common_chat_msg turn;
    turn.role = "user";
    turn.content = prompt;
    common_chat_templates_inputs inputs;
    inputs.messages = {turn};
    const std::string text = common_chat_templates_apply(common_chat_templates_init(model, "").get(), inputs).prompt;
    std::vector<llama_token> tokens(text.size() + 8);
    tokens.resize(static_cast<std::size_t>(llama_tokenize(llama_model_get_vocab(model), text.data(),
                                                          static_cast<int>(text.size()), tokens.data(),
                                                          static_cast<int>(tokens.size()), true, true)));
    return tokens;
}

std::string answer(llama_context *context, const llama_model *model, const std::string &prompt, int limit) {
    const llama_vocab *vocabulary = llama_model_get_vocab(model);
    llama_memory_clear(llama_get_memory(context), true);
    std::vector<llama_token> tokens = tokens_of(model, prompt);
    llama_batch batch = llama_batch_get_one(tokens.data(), static_cast<int>(tokens.size()));
    std::string text;
    llama_token next;
    for (int i = 0; i < limit; i++) {
        if (llama_decode(context, batch) != 0)
            std::exit(1);
        const float *logits = llama_get_logits_ith(context, -1);
        next = static_cast<llama_token>(std::max_element(logits, logits + llama_vocab_n_tokens(vocabulary)) - logits);
        if (llama_vocab_is_eog(vocabulary, next))
            break;
        char piece[256];
        text.append(piece,
                    static_cast<std::size_t>(llama_token_to_piece(vocabulary, next, piece, sizeof piece, 0, false)));
        batch = llama_batch_get_one(&next, 1);
    }
    return text;
}

}  // namespace

int main(int count, char **arguments) {
    if (count != 3)
        return 2;
    llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
    llama_model_params model_parameters = llama_model_default_params();
    model_parameters.n_gpu_layers = 0;
    llama_model *model = llama_model_load_from_file(arguments[1], model_parameters);
    llama_context_params parameters = llama_context_default_params();
    parameters.n_ctx = 2048;
    parameters.n_threads = parameters.n_threads_batch = 1;  // the numbers do not depend on it
    parameters.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    llama_context *context = model != nullptr ? llama_init_from_model(model, parameters) : nullptr;
    if (context == nullptr)
        return 1;
    for (std::string prompt; std::getline(std::cin, prompt, '\0');) {
        const std::string text = answer(context, model, prompt, std::atoi(arguments[2]));
        std::fwrite(text.c_str(), 1, text.size() + 1, stdout);
    }
    return 0;
}
