// Checks and decodes UTF-8. Regime: pure.
//
// Called for everything that comes from outside: prompts, settings, daemons' replies.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace steadytext::core {

// Length of the longest prefix of only ASCII bytes, a cache line at a time.
[[nodiscard]] inline std::size_t ascii_prefix(std::string_view text) noexcept {
    constexpr std::size_t kWords = 8;
    std::size_t i = 0;
    for (; i + kWords * 8 <= text.size(); i += kWords * 8) {
        std::uint64_t words[kWords], any = 0;
        std::memcpy(words, text.data() + i, sizeof words);
        for (const std::uint64_t word : words)
            any |= word;
        if (any & 0x8080'8080'8080'8080U)
            break;
    }
    while (i < text.size() && static_cast<unsigned char>(text[i]) < 0x80)
        i++;
    return i;
}

// Reads a code point at `at`; returns its length in bytes, or 0 if it is not valid (overlong forms, surrogates and
// numbers above U+10FFFF are not valid: RFC 3629).
[[nodiscard]] inline std::size_t utf8_decode(std::string_view text, std::size_t at, std::uint32_t &code) noexcept {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[at + i]); };
    const auto continues = [&](std::size_t i) { return at + i < text.size() && (byte(i) & 0xC0) == 0x80; };
    const unsigned char lead = byte(0);
    if (lead < 0x80) {
        code = lead;
        return 1;
    }
    if (lead >= 0xC2 && lead <= 0xDF && continues(1)) {
        code = (lead & 0x1FU) << 6 | (byte(1) & 0x3FU);
        return 2;
    }
    if ((lead & 0xF0) == 0xE0 && continues(1) && continues(2)) {
        code = (lead & 0x0FU) << 12 | (byte(1) & 0x3FU) << 6 | (byte(2) & 0x3FU);
        return code >= 0x800 && (code < 0xD800 || code > 0xDFFF) ? 3 : 0;
    }
    if (lead >= 0xF0 && lead <= 0xF4 && continues(1) && continues(2) && continues(3)) {
        code = (lead & 0x07U) << 18 | (byte(1) & 0x3FU) << 12 | (byte(2) & 0x3FU) << 6 | (byte(3) & 0x3FU);
        return code >= 0x10000 && code <= 0x10FFFF ? 4 : 0;
    }
    return 0;
}

[[nodiscard]] inline bool utf8_is_valid(std::string_view text) noexcept {
    for (std::size_t at = ascii_prefix(text); at < text.size();) {
        std::uint32_t code;
        const std::size_t length = utf8_decode(text, at, code);
        if (length == 0)
            return false;
        at += length;
        at += ascii_prefix(text.substr(at));
    }
    return true;
}

// The longest prefix of valid UTF-8 with at most `most` bytes that cuts no character.
[[nodiscard]] inline std::string_view utf8_prefix(std::string_view text, std::size_t most) noexcept {
    if (text.size() <= most)
        return text;
    while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xC0) == 0x80)
        most--;
    return text.substr(0, most);
}

[[nodiscard]] inline bool contains_nul(std::string_view text) noexcept {
    return !text.empty() && std::memchr(text.data(), '\0', text.size()) != nullptr;
}

}  // namespace steadytext::core
