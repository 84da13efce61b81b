// The model's chat template as it stands around a prompt. It is rendered once, around a mark: so no prompt can change
// what the template writes.
//
// Made by the generator when its model is loaded, then read by the threads that prepare prompts. Regime: pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <llama.h>

#include "daemon/tokenizer.hpp"

namespace steadytext::daemon {

class ChatTemplate {
public:
    ChatTemplate() = default;
    explicit ChatTemplate(const llama_model *model);

    // Empty, or why no prompt can be written.
    [[nodiscard]] const std::string &error() const { return error_; }
    [[nodiscard]] const Tokenizer &tokenizer() const { return tokenizer_; }

    // A prompt in two parts. If `is_cut`, each part is tokenized by itself, with the template's beginning or end; otherwise
    // they are a single text.
    struct Prompt {
        std::string_view prefix;
        std::string_view input;
        bool is_cut = false;
    };
    struct Tokens {
        std::vector<llama_token> all;
        std::size_t prefix = 0;  // the number of tokens before the cut
    };
    [[nodiscard]] Tokens tokens(Prompt prompt) const;

private:
    std::string error_;
    Tokenizer tokenizer_;
    std::vector<Tokenizer::Markup> parts_;  // the prompt stands between them
    bool strips_begin_ = false;             // of the prompt's white space
    bool strips_end_ = false;
};

}  // namespace steadytext::daemon
