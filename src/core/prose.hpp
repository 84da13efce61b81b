// Takes prose apart without a model: sentences, pieces that a request has room for, and requests that hold many texts.
//
// Called by src/core/summary_state.cpp, src/session/condensing.cpp and src/functions/facts.cpp. Regime: pure (may throw
// std::bad_alloc). Texts are valid UTF-8; no character is cut. All of it takes time in proportion to the text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace steadytext::core {

// Without the white space around it, as Python's str.strip().
[[nodiscard]] std::string_view stripped(std::string_view text) noexcept;

[[nodiscard]] std::size_t count_characters(std::string_view text) noexcept;
// The first characters of the text, at most so many.
[[nodiscard]] std::string_view first_characters(std::string_view text, std::size_t most) noexcept;

// The original's facts where there is no model: a cut after each `.`, `!` or `?` with more than ten characters before
// it, itself among them; the rest is the last. Calls found(sentence) until it returns false.
template <class Found>
void each_sentence(std::string_view text, Found &&found) {
    constexpr std::size_t kShort = 10;
    std::size_t start = 0;
    for (std::size_t at = text.find_first_of(".!?"); at != std::string_view::npos;
         at = text.find_first_of(".!?", at + 1)) {
        const std::string_view sentence = stripped(text.substr(start, at + 1 - start));
        if (sentence.size() <= kShort || (sentence.size() <= 4 * kShort && count_characters(sentence) <= kShort))
            continue;
        if (!found(sentence))
            return;
        start = at + 1;
    }
    if (const std::string_view rest = stripped(text.substr(start)); !rest.empty())
        (void)found(rest);
}

// Cuts the text into pieces of at most `most` bytes: at the end of a line, else of a sentence, else of a word, if there
// is one in the second half of a piece. `most` is at least 4.
[[nodiscard]] std::vector<std::string_view> pieces_of(std::string_view text, std::size_t most);

// The texts in their order, put together to parts of at most `most` bytes, a text to a line; a longer text is cut into
// pieces. If there are more parts than `most_parts`, some texts are left out: texts, and pieces of texts, are chosen by
// hash until they fill so many parts. A text that is a part of its own stands there as it is, others behind "- ".
[[nodiscard]] std::vector<std::string> packed(const std::vector<std::string_view> &texts, std::size_t most,
                                              std::size_t most_parts);

// The first 64 bits of the text's SHA-256.
[[nodiscard]] std::uint64_t hash_of(std::string_view text) noexcept;

// Whether an engine says by these words that a request is beyond its model's window.
[[nodiscard]] bool tells_of_window(std::string_view words) noexcept;

}  // namespace steadytext::core
