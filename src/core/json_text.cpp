// Escapes and number forms of Python's json module: see json_text.hpp. Regime: pure.
#include "src/core/json_text.hpp"

#include "src/core/utf8.hpp"

#include <array>
#include <charconv>
#include <cmath>

namespace steadytext::core {

namespace {

void append_escape(std::string &out, std::uint32_t unit) {
    constexpr char kDigits[] = "0123456789abcdef";
    const char escape[] = {
        '\\', 'u', kDigits[unit >> 12 & 15], kDigits[unit >> 8 & 15], kDigits[unit >> 4 & 15], kDigits[unit & 15]};
    out.append(escape, sizeof escape);
}

void append_code_point(std::string &out, std::uint32_t code) {
    if (code < 0x10000) {
        append_escape(out, code);
    } else {
        append_escape(out, 0xD800 + ((code - 0x10000) >> 10));
        append_escape(out, 0xDC00 + ((code - 0x10000) & 0x3FF));
    }
}

// The short escape of a character that has one, or 0.
char short_escape(char c) {
    switch (c) {
    case '"':
    case '\\':
        return c;
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    case '\f':
        return 'f';
    case '\b':
        return 'b';
    default:
        return 0;
    }
}

// Characters that stand for themselves.
constexpr auto kPlain = [] {
    std::array<bool, 256> plain{};
    for (std::size_t c = 0x20; c < 0x7F; c++)
        plain[c] = c != '"' && c != '\\';
    return plain;
}();

bool is_plain(unsigned char c) { return kPlain[c]; }

}  // namespace

void append_json_string(std::string &out, std::string_view text, Escape escape) {
    out += '"';
    for (std::size_t at = 0; at < text.size();) {
        std::size_t plain = at;
        while (plain < text.size() && is_plain(static_cast<unsigned char>(text[plain])))
            plain++;
        out.append(text, at, plain - at);
        at = plain;
        if (at == text.size())
            break;
        std::uint32_t code = 0;
        std::size_t length = utf8_decode(text, at, code);
        if (length == 0) {
            code = 0xFFFD;
            length = 1;
        }
        if (const char letter = code < 0x80 ? short_escape(text[at]) : '\0'; letter != 0)
            out.append({'\\', letter});
        else if (code < 0x20 || (code >= 0x7F && escape == Escape::Ascii))
            append_code_point(out, code);
        else
            out.append(text, at, length);
        at += length;
    }
    out += '"';
}

void append_json_number(std::string &out, std::int64_t value) {
    char digits[24];
    const auto [end, error] = std::to_chars(digits, digits + sizeof digits, value);
    out.append(digits, end);
}

void append_json_number(std::string &out, double value) {
    if (std::isnan(value) || std::isinf(value)) {
        out += std::isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity";
        return;
    }
    char text[40];
    const double size = std::fabs(value);
    const bool exponent = size != 0 && (size < 1e-4 || size >= 1e16);
    const auto [end, error] = std::to_chars(text, text + sizeof text, value,
                                            exponent ? std::chars_format::scientific : std::chars_format::fixed);
    const std::string_view written(text, static_cast<std::size_t>(end - text));
    out += written;
    if (!exponent && written.find('.') == std::string_view::npos)
        out += ".0";
}

}  // namespace steadytext::core
