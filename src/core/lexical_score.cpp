// Counting words: see lexical_score.hpp. Regime: pure.
#include "src/core/lexical_score.hpp"

#include <algorithm>
#include <string>

namespace steadytext::core {

namespace {

std::string lower(std::string_view text) {
    std::string result(text);
    std::transform(result.begin(), result.end(), result.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; });
    return result;
}

int words_found(std::string_view words, std::string_view document) {
    constexpr std::string_view kSpace = " \t\n\v\f\r";
    int found = 0;
    for (std::size_t at = words.find_first_not_of(kSpace); at != std::string_view::npos;) {
        const std::size_t end = std::min(words.find_first_of(kSpace, at), words.size());
        found += document.find(words.substr(at, end - at)) != std::string_view::npos;
        at = words.find_first_not_of(kSpace, end);
    }
    return found;
}

}  // namespace

double lexical_score(std::string_view query, std::string_view document, std::string_view task, std::size_t position) {
    const std::string text = lower(document);
    const double score = 0.35 * words_found(lower(query), text) + 0.25 * words_found(lower(task), text) +
                         std::max(0.05, 0.1 / static_cast<double>(position));
    return std::clamp(score, 0.01, 1.0);
}

}  // namespace steadytext::core
