// Goes character by character, until there is enough: see plain_words.hpp. Regime: pure.
#include "src/core/plain_words.hpp"

#include "src/core/utf8.hpp"

#include <algorithm>
#include <cstdint>

namespace steadytext::core {

namespace {

constexpr std::size_t kMaxRead = 64 << 10;  // of a page without any words

// White space, controls (C0, DEL, C1), and invisible characters that join, separate or turn other
// characters.
bool is_unseen(std::uint32_t code) {
    return code <= 0x20 || (code >= 0x7F && code <= 0xA0) || code == 0xAD || (code >= 0x2000 && code <= 0x200F) ||
           (code >= 0x2028 && code <= 0x202F) || (code >= 0x205F && code <= 0x206F) || code == 0x3000 ||
           code == 0xFEFF || (code >= 0xFFF9 && code <= 0xFFFB) || (code >= 0xE0000 && code <= 0xE007F);
}

bool begins_with(std::string_view text, std::size_t at, std::string_view lower) {
    return text.size() - at >= lower.size() &&
           std::equal(lower.begin(), lower.end(), text.begin() + static_cast<std::ptrdiff_t>(at),
                      [](char expected, char c) {
                          return expected == (c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c);
                      });
}

// The end of the tag that begins at `at`; for a script or style, the place where its end tag begins.
std::size_t behind_tag(std::string_view page, std::size_t at) {
    for (const std::string_view element : {std::string_view("<script"), std::string_view("<style")}) {
        if (!begins_with(page, at, element))
            continue;
        const std::string end = "</" + std::string(element.substr(1));
        for (at++; at < page.size() && !begins_with(page, at, end);)
            at = std::min(page.find('<', at + 1), page.size());
        return at;
    }
    return std::min(page.find('>', at), page.size() - 1) + 1;
}

}  // namespace

std::string plain_words(std::string_view text, std::size_t most) {
    text = utf8_prefix(text, kMaxRead);
    const std::size_t first = text.find_first_not_of(" \t\r\n");
    const bool is_page = first != std::string_view::npos && text[first] == '<';
    std::string words;
    bool is_apart = false;
    for (std::size_t at = 0; at < text.size();) {
        if (is_page && text[at] == '<') {
            at = behind_tag(text, at);
            is_apart = true;
            continue;
        }
        std::uint32_t code;
        const std::size_t length = utf8_decode(text, at, code);
        const std::string_view character = length == 0 ? std::string_view("?") : text.substr(at, length);
        at += std::max<std::size_t>(length, 1);
        if (length != 0 && is_unseen(code)) {
            is_apart = true;
            continue;
        }
        const std::size_t needed = character.size() + (is_apart && !words.empty() ? 1 : 0);
        if (words.size() + needed > most)
            break;
        if (is_apart && !words.empty())
            words += ' ';
        is_apart = false;
        words += character;
    }
    return words;
}

}  // namespace steadytext::core
