// Special tokens, and texts that only look like them: see tokenizer.hpp. Regime: pure.
#include "daemon/tokenizer.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include "daemon/llama_model.hpp"

namespace steadytext::daemon {

namespace {

bool is_space(char byte) { return std::isspace(static_cast<unsigned char>(byte)) != 0; }

// Stands for what the vocabulary cannot write, and controls nothing.
bool is_unknown(int attributes, std::string_view text) {
    return (attributes & LLAMA_TOKEN_ATTR_UNKNOWN) != 0 || text == "[UNK]" || text == "<unk>";
}

// "<think>" and the like, but no run of spaces and no word.
bool looks_like_markup(std::string_view text) {
    return text.size() > 2 && std::ispunct(static_cast<unsigned char>(text.front())) != 0 &&
           std::ispunct(static_cast<unsigned char>(text.back())) != 0;
}

std::vector<llama_token> tokens_around_text(const llama_vocab *vocabulary) {
    std::vector<llama_token> tokens(4);
    const int count = llama_tokenize(vocabulary, "", 0, tokens.data(), static_cast<int>(tokens.size()), true, false);
    tokens.resize(static_cast<std::size_t>(std::max(count, 0)));
    return tokens;
}

}  // namespace

Tokenizer::Tokenizer(const llama_model *model, std::string_view template_source)
    : vocabulary_(llama_model_get_vocab(model)) {
    std::array<llama_token, 256> of_byte;
    of_byte.fill(LLAMA_TOKEN_NULL);
    std::vector<llama_token> special;
    for (llama_token token = 0; token < llama_vocab_n_tokens(vocabulary_); token++) {
        constexpr int kParsed = LLAMA_TOKEN_ATTR_CONTROL | LLAMA_TOKEN_ATTR_USER_DEFINED | LLAMA_TOKEN_ATTR_UNKNOWN;
        const int attributes = this->attributes(token);
        const std::string_view text = text_of(token);
        if ((attributes & kParsed) != 0 && !text.empty())
            parsed_.push_back(token);
        if (is_unknown(attributes, text))
            continue;
        const bool is_templates_own = (attributes & LLAMA_TOKEN_ATTR_USER_DEFINED) != 0 && looks_like_markup(text) &&
                                      template_source.find(text) != std::string_view::npos;
        if ((attributes & LLAMA_TOKEN_ATTR_CONTROL) != 0 || llama_vocab_is_eog(vocabulary_, token) || is_templates_own)
            special.push_back(token);
        else if (const std::string piece = piece_of(vocabulary_, token); piece.size() == 1)
            if (llama_token &of = of_byte[static_cast<unsigned char>(piece[0])]; of == LLAMA_TOKEN_NULL)
                of = token;
    }
    std::stable_sort(parsed_.begin(), parsed_.end(),
                     [this](llama_token a, llama_token b) { return text_of(a).size() > text_of(b).size(); });
    for (const llama_token token : special)
        for (const char byte : text_of(token))
            if (const llama_token of = of_byte[static_cast<unsigned char>(byte)]; of != LLAMA_TOKEN_NULL)
                spelled_[token].push_back(of);
            else
                (void)spelled_[token];  // special all the same; the byte is lost
    const std::vector<llama_token> around = tokens_around_text(vocabulary_);
    const bool begins = llama_vocab_type(vocabulary_) == LLAMA_VOCAB_TYPE_WPM || llama_vocab_get_add_bos(vocabulary_);
    for (std::size_t i = 0; i < around.size(); i++)
        (begins && i == 0 ? first_ : last_).push_back(around[i]);
}

// As llama.cpp cuts a text of which special tokens are parsed: the longest of them first.
Tokenizer::Markup Tokenizer::parse(std::string_view template_part) const {
    Markup markup;
    if (!template_part.empty())
        markup.push_back({LLAMA_TOKEN_NULL, std::string(template_part)});
    for (const llama_token token : parsed_)
        for (std::size_t i = 0; i < markup.size(); i++) {
            const std::string_view text = text_of(token);
            const std::size_t at = markup[i].text.find(text);
            if (markup[i].token != LLAMA_TOKEN_NULL || at == std::string::npos)
                continue;
            std::string rest = markup[i].text.substr(at + text.size());
            markup[i].text.resize(at);
            const auto after = markup.begin() + static_cast<std::ptrdiff_t>(i) + 1;
            markup.insert(after, {Fragment{token, {}}, Fragment{LLAMA_TOKEN_NULL, std::move(rest)}});
            i++;
        }
    std::erase_if(markup,
                  [](const Fragment &fragment) { return fragment.token == LLAMA_TOKEN_NULL && fragment.text.empty(); });
    return markup;
}

// llama.cpp may still give a special token for a text: one that the vocabulary calls user defined, or one that is made
// by joining its pieces. Such a token is spelled byte by byte.
void Tokenizer::append(std::string_view text, std::vector<llama_token> &tokens) const {
    std::vector<llama_token> found(text.size() + 1);  // a token has at least a byte; there may be a space before
    const auto tokenize_into = [&] {
        return llama_tokenize(vocabulary_, text.data(), static_cast<int>(text.size()), found.data(),
                              static_cast<int>(found.size()), false, false);
    };
    int count = tokenize_into();
    if (count < 0) {
        found.resize(static_cast<std::size_t>(-count));
        count = tokenize_into();
    }
    found.resize(static_cast<std::size_t>(std::max(count, 0)));
    for (const llama_token token : found)
        if (const auto spelled = spelled_.find(token); spelled != spelled_.end())
            tokens.insert(tokens.end(), spelled->second.begin(), spelled->second.end());
        else
            tokens.push_back(token);
}

std::vector<llama_token> Tokenizer::tokens(std::string_view text) const {
    PromptWriter writer(*this);
    writer.add_text(text);
    return writer.finish();
}

std::deque<std::vector<llama_token>> Tokenizer::windows(std::string_view prefix, std::string_view text,
                                                        std::size_t window) const {
    std::vector<llama_token> before = first_, own;
    append(prefix, before);
    append(text, own);
    const std::size_t around = before.size() + last_.size();
    const std::size_t room = window > around ? window - around : 1;
    const std::size_t count = std::max<std::size_t>(1, (own.size() + room - 1) / room);
    std::deque<std::vector<llama_token>> windows;
    for (std::size_t i = 0; i < count; i++) {
        std::vector<llama_token> &tokens = windows.emplace_back(before);
        const auto begin = own.begin();
        tokens.insert(tokens.end(), begin + static_cast<std::ptrdiff_t>(i * own.size() / count),
                      begin + static_cast<std::ptrdiff_t>((i + 1) * own.size() / count));
        tokens.insert(tokens.end(), last_.begin(), last_.end());
        tokens.resize(std::min(tokens.size(), window));  // where the prefix alone fills it
    }
    return windows;
}

int Tokenizer::count(std::string_view text) const {
    std::vector<llama_token> tokens;
    append(text, tokens);
    return static_cast<int>(tokens.size());
}

void PromptWriter::add_markup(const Tokenizer::Markup &markup) {
    for (const auto &[token, text] : markup) {
        if (token == LLAMA_TOKEN_NULL) {
            pending_ += text;
            continue;
        }
        const int attributes = tokenizer_.attributes(token);
        flush((attributes & LLAMA_TOKEN_ATTR_LSTRIP) != 0);
        tokens_.push_back(token);
        strips_begin_ = (attributes & LLAMA_TOKEN_ATTR_RSTRIP) != 0;
    }
}

void PromptWriter::flush(bool strips_end) {
    std::string_view text = pending_;
    while (strips_end && !text.empty() && is_space(text.back()))
        text.remove_suffix(1);
    while (strips_begin_ && !text.empty() && is_space(text.front()))
        text.remove_prefix(1);
    if (!text.empty())
        tokenizer_.append(text, tokens_);
    pending_.clear();
}

std::size_t PromptWriter::cut() {
    flush(false);
    strips_begin_ = false;
    return tokens_.size();
}

std::vector<llama_token> PromptWriter::finish() {
    flush(false);
    tokens_.insert(tokens_.end(), tokenizer_.last_.begin(), tokenizer_.last_.end());
    return std::move(tokens_);
}

}  // namespace steadytext::daemon
