// special-tokens: the texts of a model's special tokens, as its vocabulary has them.
//
//     special-tokens MODEL > texts        (each ends with a NUL byte)
//
// For t/315_user_text.pl. Only llama.cpp's own API. Regime: pure.
#include <llama.h>

#include <cstdio>
#include <cstring>

int main(int count, char **arguments) {
    if (count != 2)
        return 2;
    llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
    llama_model_params parameters = llama_model_default_params();
    parameters.vocab_only = true;
    llama_model *model = llama_model_load_from_file(arguments[1], parameters);
    if (model == nullptr)
        return 1;
    const llama_vocab *vocabulary = llama_model_get_vocab(model);
    constexpr int kSpecial = LLAMA_TOKEN_ATTR_CONTROL | LLAMA_TOKEN_ATTR_USER_DEFINED | LLAMA_TOKEN_ATTR_UNKNOWN;
    for (llama_token token = 0; token < llama_vocab_n_tokens(vocabulary); token++) {
        const char *text = llama_vocab_get_text(vocabulary, token);
        if ((llama_vocab_get_attr(vocabulary, token) & kSpecial) != 0 || llama_vocab_is_eog(vocabulary, token))
            std::fwrite(text, 1, std::strlen(text) + 1, stdout);
    }
    return 0;
}
