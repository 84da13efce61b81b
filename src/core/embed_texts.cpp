// Reads just the JSON that this project writes: see embed_texts.hpp. Regime: pure.
#include "src/core/embed_texts.hpp"

#include "src/core/json_text.hpp"

#include <algorithm>

namespace steadytext::core {

namespace {

constexpr std::string_view kTextKey = "{\"text_input\": ";
constexpr std::string_view kTextsKey = "{\"texts\": [";
constexpr std::string_view kBlanks = " \t\r\n";

void skip_blanks(std::string_view &text) { text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size())); }

bool skip(std::string_view &text, char expected) {
    skip_blanks(text);
    if (text.empty() || text.front() != expected)
        return false;
    text.remove_prefix(1);
    return true;
}

// An array of numbers.
bool take_row(std::string_view &text, std::string_view &row) {
    skip_blanks(text);
    if (text.empty() || text.front() != '[')
        return false;
    const std::size_t end = text.find_first_not_of("0123456789+-.eE, \t\r\n", 1);
    if (end == std::string_view::npos || text[end] != ']')
        return false;
    row = text.substr(0, end + 1);
    text.remove_prefix(end + 1);
    return true;
}

}  // namespace

void write_embed_params(std::string_view text, std::int64_t seed, std::string_view model, std::string &params) {
    params.clear();
    JsonObject json(params, Escape::Utf8);
    json.add("text_input", text);
    json.add("seed", seed);
    json.add_or_null("model", model);
    json.add_bool("return_usage", true);
    json.close();
}

bool split_embed_params(std::string_view params, std::string_view &text, std::string_view &rest) {
    if (!params.starts_with(kTextKey) || params.size() == kTextKey.size() || params[kTextKey.size()] != '"')
        return false;
    std::size_t at = kTextKey.size() + 1;
    while ((at = params.find_first_of("\"\\", at)) != std::string_view::npos && params[at] == '\\')
        at += 2;
    if (at == std::string_view::npos)
        return false;
    text = params.substr(kTextKey.size(), at + 1 - kTextKey.size());
    rest = params.substr(at + 1);
    return true;
}

void join_embed_params(std::span<const std::string> texts, std::string_view rest, std::string &params) {
    params.assign(kTextsKey);
    for (std::size_t i = 0; i < texts.size(); i++)
        params.append(i > 0 ? ", " : "").append(texts[i]);
    params.append("]").append(rest);
}

// {"id": ..., "result": {"embeddings": [[...], ...]... The part before is ours, so the key is not found inside a
// text.
bool split_embed_batch_reply(std::string_view body, std::size_t count, std::vector<std::string_view> &rows) {
    constexpr std::string_view kKey = "\"embeddings\"";
    rows.clear();
    const std::size_t at = body.find(kKey);
    if (at == std::string_view::npos)
        return false;
    std::string_view left = body.substr(at + kKey.size());
    if (!skip(left, ':') || !skip(left, '['))
        return false;
    for (std::size_t i = 0; i < count; i++) {
        std::string_view row;
        if ((i > 0 && !skip(left, ',')) || !take_row(left, row))
            return false;
        rows.push_back(row);
    }
    return skip(left, ']');
}

}  // namespace steadytext::core
