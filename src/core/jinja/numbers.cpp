// Numbers as Python reads and shows them: see text.hpp.
#include "src/core/jinja/text.hpp"

#include "src/core/json_text.hpp"
#include "src/core/utf8.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace steadytext::core::jinja {

void append_real(std::string &out, double value) {
    if (std::isnan(value))
        out += "nan";
    else if (std::isinf(value))
        out += value < 0 ? "-inf" : "inf";
    else
        append_json_number(out, value);
}

namespace {

// Digits with single underscores between them, as Python's numbers may be written; without them in `out`.
bool digits(std::string_view &text, std::string &out) {
    bool any = false;
    for (std::size_t i = 0; i < text.size(); i++) {
        if (text[i] == '_' && any && i + 1 < text.size() && text[i + 1] >= '0' && text[i + 1] <= '9')
            continue;
        if (text[i] < '0' || text[i] > '9') {
            text.remove_prefix(i);
            return any;
        }
        out += text[i];
        any = true;
    }
    text = {};
    return any;
}

std::string_view signed_text(std::string_view text, std::string &out) {
    text = stripped(text);
    if (ascii_prefix(text) != text.size())
        for (std::size_t at = 0, length; at < text.size(); at += length)
            if (const std::uint32_t code = code_at(text, at, length); code >= 0x80 && is_digit(code))
                unsupported("a number in digits other than 0 to 9");
    if (!text.empty() && (text[0] == '-' || text[0] == '+')) {
        if (text[0] == '-')
            out += '-';
        text.remove_prefix(1);
    }
    return text;
}

}  // namespace

bool read_whole(std::string_view text, std::int64_t &value) {
    std::string plain;
    text = signed_text(text, plain);
    if (!digits(text, plain) || !text.empty())
        return false;
    const auto [end, error] = std::from_chars(plain.data(), plain.data() + plain.size(), value);
    if (error == std::errc::result_out_of_range)
        refuse_long();
    return error == std::errc{};
}

bool read_real(std::string_view text, double &value) {
    std::string plain;
    text = signed_text(text, plain);
    const auto is_word = [&](std::string_view word) {
        return std::ranges::equal(text, word, [](char a, char b) { return (a | 0x20) == b; });
    };
    if (is_word("nan") || is_word("inf") || is_word("infinity")) {
        value = text[0] == 'n' || text[0] == 'N' ? NAN : plain.empty() ? HUGE_VAL : -HUGE_VAL;
        return true;
    }
    bool any = digits(text, plain);
    if (text.starts_with('.')) {
        text.remove_prefix(1);
        plain += '.';
        any = digits(text, plain) || any;
    }
    if (!any)
        return false;
    if (text.starts_with('e') || text.starts_with('E')) {
        text.remove_prefix(1);
        plain += 'e';
        if (text.starts_with('-') || text.starts_with('+')) {
            plain += text[0];
            text.remove_prefix(1);
        }
        if (!digits(text, plain))
            return false;
    }
    if (!text.empty())
        return false;
    value = std::strtod(plain.c_str(), nullptr);  // beyond all doubles: infinity, as in Python
    return true;
}

}  // namespace steadytext::core::jinja
