// Tokens of a prompt of which some parts are a template's and the others are texts of a request. Only in the template's
// parts are special tokens parsed: in a text nothing is control, whatever it spells.
//
// Made by each engine when its model is loaded, then read by several threads. Regime: pure.
//
// A text gets the tokens that it would get without the template's special tokens beside it: neighbouring parts without
// a special token between them are tokenized together, as llama.cpp does with a rendered template.
#pragma once

#include <cstddef>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <llama.h>

namespace steadytext::daemon {

class Tokenizer {
public:
    Tokenizer() = default;
    // `template_source`: a token that the vocabulary calls user defined, and that this template writes, is special too.
    explicit Tokenizer(const llama_model *model, std::string_view template_source = {});

    // A part of a template, cut at its special tokens.
    struct Fragment {
        llama_token token = LLAMA_TOKEN_NULL;  // or else a text
        std::string text;
    };
    using Markup = std::vector<Fragment>;
    [[nodiscard]] Markup parse(std::string_view template_part) const;

    // A text alone, between the tokens that the model wants at the beginning and at the end.
    [[nodiscard]] std::vector<llama_token> tokens(std::string_view text) const;

    // A text that is longer than `window` tokens in parts of about the same length, each as tokens() would give it, with
    // the prefix before it.
    [[nodiscard]] std::deque<std::vector<llama_token>> windows(std::string_view prefix, std::string_view text,
                                                               std::size_t window) const;

    // The number of a text's own tokens.
    [[nodiscard]] int count(std::string_view text) const;

    // True of a token that ends, begins or marks a part of a prompt, so that no text may become it.
    [[nodiscard]] bool is_special(llama_token token) const { return spelled_.contains(token); }

private:
    friend class PromptWriter;

    [[nodiscard]] llama_token_attr attributes(llama_token token) const {
        return llama_vocab_get_attr(vocabulary_, token);
    }
    [[nodiscard]] std::string_view text_of(llama_token token) const { return llama_vocab_get_text(vocabulary_, token); }
    void append(std::string_view text, std::vector<llama_token> &tokens) const;

    const llama_vocab *vocabulary_ = nullptr;
    std::vector<llama_token> parsed_;  // in templates; longest text first
    // From each special token to the tokens that write it as text
    std::unordered_map<llama_token, std::vector<llama_token>> spelled_;
    std::vector<llama_token> first_;  // that the model wants at the beginning
    std::vector<llama_token> last_;
};

// Writes a prompt, part by part.
class PromptWriter {
public:
    explicit PromptWriter(const Tokenizer &tokenizer) : tokenizer_(tokenizer), tokens_(tokenizer.first_) {}

    void add_markup(const Tokenizer::Markup &markup);
    void add_text(std::string_view text) { pending_ += text; }
    // Tokenizes what follows by itself. Returns the number of tokens so far.
    std::size_t cut();
    [[nodiscard]] std::vector<llama_token> finish();

private:
    void flush(bool strips_end);

    const Tokenizer &tokenizer_;
    std::vector<llama_token> tokens_;
    std::string pending_;        // not yet tokenized
    bool strips_begin_ = false;  // the token before wants no white space after it
};

}  // namespace steadytext::daemon
