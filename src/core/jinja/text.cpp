// See text.hpp.
#include "src/core/jinja/text.hpp"

#include "src/core/json_text.hpp"
#include "src/core/utf8.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utf8proc.h>

namespace steadytext::core::jinja {

bool is_space(std::uint32_t code) {
    return (code >= 9 && code <= 13) || (code >= 28 && code <= 32) || code == 0x85 || code == 0xA0 || code == 0x1680 ||
           (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 || code == 0x202F || code == 0x205F ||
           code == 0x3000;
}

bool is_word(std::uint32_t code) {
    if (code < 0x80)
        return (code >= '0' && code <= '9') || (code >= 'a' && code <= 'z') || (code >= 'A' && code <= 'Z') ||
               code == '_';
    switch (utf8proc_category(static_cast<utf8proc_int32_t>(code))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return true;
    default:
        return false;
    }
}

bool is_digit(std::uint32_t code) {
    return code < 0x80 ? code >= '0' && code <= '9'
                       : utf8proc_category(static_cast<utf8proc_int32_t>(code)) == UTF8PROC_CATEGORY_ND;
}

std::uint32_t code_at(std::string_view text, std::size_t at, std::size_t &length) {
    std::uint32_t code = 0;
    length = utf8_decode(text, at, code);
    if (length == 0) {  // texts are valid, so this is never so
        length = 1;
        code = 0xFFFD;
    }
    return code;
}

void append_code(std::string &out, std::uint32_t code) {
    utf8proc_uint8_t bytes[4];
    const auto length = utf8proc_encode_char(static_cast<utf8proc_int32_t>(code), bytes);
    out.append(reinterpret_cast<const char *>(bytes), static_cast<std::size_t>(length));
}

std::size_t length_of(std::string_view text) {
    return static_cast<std::size_t>(
        std::ranges::count_if(text, [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; }));
}

std::size_t byte_of(std::string_view text, std::size_t number) {
    std::size_t at = 0;
    for (; at < text.size() && number > 0; number--) {
        at++;
        while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80)
            at++;
    }
    return at;
}

std::string_view stripped_left(std::string_view text) {
    std::size_t length;
    while (!text.empty() && is_space(code_at(text, 0, length)))
        text.remove_prefix(length);
    return text;
}

namespace {

std::size_t last_begins(std::string_view text) {
    std::size_t at = text.size() - 1;
    while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80)
        at--;
    return at;
}

}  // namespace

std::string_view stripped_right(std::string_view text) {
    std::size_t length;
    while (!text.empty()) {
        const std::size_t last = last_begins(text);
        if (!is_space(code_at(text, last, length)))
            break;
        text = text.substr(0, last);
    }
    return text;
}

std::string_view stripped(std::string_view text, std::string_view characters, bool left, bool right, Bounds &bounds) {
    bounds.spend(1 + text.size() / 8 + characters.size());
    std::vector<std::uint32_t> set;
    std::size_t length;
    for (std::size_t at = 0; at < characters.size(); at += length)
        set.push_back(static_cast<std::uint32_t>(code_at(characters, at, length)));
    std::ranges::sort(set);
    const auto is_in_set = [&](std::size_t at) {
        return std::ranges::binary_search(set, static_cast<std::uint32_t>(code_at(text, at, length)));
    };
    while (left && !text.empty() && is_in_set(0))
        text.remove_prefix(length);
    while (right && !text.empty()) {
        const std::size_t last = last_begins(text);
        if (!is_in_set(last))
            break;
        text = text.substr(0, last);
    }
    return text;
}

// ---- case ----------------------------------------------------------------------------------------------------------

namespace {

constexpr std::uint32_t kSharpS = 0xDF;

[[noreturn]] void refuse_case(std::uint32_t code) {
    char name[32];
    std::snprintf(name, sizeof name, "U+%04X", code);
    unsupported(std::string("the case of ") + name);
}

// Letters that become several, by Unicode's SpecialCasing.
bool has_long_upper(std::uint32_t code) {
    return code == 0x149 || code == 0x1F0 || code == 0x390 || code == 0x3B0 || code == 0x587 ||
           (code >= 0x1E96 && code <= 0x1E9A) || (code >= 0x1F50 && code <= 0x1FFC) ||
           (code >= 0xFB00 && code <= 0xFB17);
}

void append_upper(std::string &out, std::uint32_t code, bool for_title) {
    if (code == kSharpS)
        out += for_title ? "Ss" : "SS";
    else if (has_long_upper(code))
        refuse_case(code);
    else
        append_code(out, static_cast<std::uint32_t>(for_title ? utf8proc_totitle(static_cast<utf8proc_int32_t>(code))
                                                              : utf8proc_toupper(static_cast<utf8proc_int32_t>(code))));
}

void append_lower(std::string &out, std::uint32_t code) {
    if (code == 0x130 || code == 0x3A3)
        refuse_case(code);
    append_code(out, static_cast<std::uint32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code))));
}

template <class Append>
void for_each_code(std::string_view text, Append append) {
    for (std::size_t at = 0, length; at < text.size(); at += length)
        append(code_at(text, at, length));
}

}  // namespace

std::string upper(std::string_view text) {
    std::string out;
    for_each_code(text, [&](std::uint32_t code) { append_upper(out, code, false); });
    return out;
}

std::string lower(std::string_view text) {
    std::string out;
    for_each_code(text, [&](std::uint32_t code) { append_lower(out, code); });
    return out;
}

std::string capitalized(std::string_view text) {
    std::string out;
    bool first = true;
    for_each_code(text, [&](std::uint32_t code) {
        first ? append_upper(out, code, true) : append_lower(out, code);
        first = false;
    });
    return out;
}

std::string title(std::string_view text) {
    std::string out;
    bool begins = true, was_between = false;
    for_each_code(text, [&](std::uint32_t code) {
        const bool between =
            is_space(code) ||
            (code < 0x80 && std::string_view("-({[<").find(static_cast<char>(code)) != std::string_view::npos);
        begins = begins || between != was_between;
        begins ? append_upper(out, code, false) : append_lower(out, code);
        was_between = between;
        begins = false;
    });
    return out;
}

// ---- changes -------------------------------------------------------------------------------------------------------

std::size_t find_in(std::string_view text, std::string_view part, std::size_t from, Bounds &bounds) {
    if (part.empty() || from > text.size())
        return text.find(part, from);
    for (std::size_t at = from;; at++) {
        const std::size_t found = text.find(part[0], at);
        bounds.spend(1 + (std::min(found, text.size()) - at) / 64 + part.size() / 64);
        if (found == std::string_view::npos || found + part.size() > text.size())
            return std::string_view::npos;
        if (text.substr(found, part.size()) == part)
            return found;
        at = found;
    }
}

std::size_t find_last_in(std::string_view text, std::string_view part, Bounds &bounds) {
    if (part.empty() || part.size() > text.size())
        return text.rfind(part);
    for (std::size_t left = text.size() - part.size();;) {
        const std::size_t found = text.rfind(part[0], left);
        bounds.spend(1 + (left - std::min(found, left)) / 64 + part.size() / 64);
        if (found == std::string_view::npos || text.substr(found, part.size()) == part)
            return found;
        if (found == 0)
            return std::string_view::npos;
        left = found - 1;
    }
}

std::string replaced(std::string_view text, std::string_view old, std::string_view by, std::int64_t most,
                     Bounds &bounds) {
    std::string out;
    std::size_t at = 0;
    const auto add = [&](std::string_view more) {
        bounds.take_output(more.size());
        out += more;
    };
    if (old.empty()) {  // before each character, and at the end
        for (std::size_t length; most != 0; most--) {
            add(by);
            if (at >= text.size())
                break;
            (void)code_at(text, at, length);
            add(text.substr(at, length));
            at += length;
        }
        add(text.substr(std::min(at, text.size())));
    } else {
        for (std::size_t found; most != 0 && (found = find_in(text, old, at, bounds)) != std::string_view::npos;
             most--) {
            add(text.substr(at, found - at));
            add(by);
            at = found + old.size();
        }
        add(text.substr(at));
    }
    bounds.give_back_output(out.size());
    return out;
}

std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : text)
        switch (c) {
        case '&':
            out += "&amp;";
            break;
        case '<':
            out += "&lt;";
            break;
        case '>':
            out += "&gt;";
            break;
        case '\'':
            out += "&#39;";
            break;
        case '"':
            out += "&#34;";
            break;
        default:
            out += c;
        }
    return out;
}

namespace {

bool is_printable(std::uint32_t code) {
    if (code < 0x80)
        return code >= 0x20 && code < 0x7F;
    switch (utf8proc_category(static_cast<utf8proc_int32_t>(code))) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
        return false;
    default:
        return true;
    }
}

}  // namespace

void append_repr(std::string &out, std::string_view text) {
    const char quote =
        text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos ? '"' : '\'';
    out += quote;
    for_each_code(text, [&](std::uint32_t code) {
        char form[16];
        if (code == static_cast<unsigned char>(quote) || code == '\\') {
            out += '\\';
            out += static_cast<char>(code);
        } else if (code == '\n' || code == '\r' || code == '\t') {
            out += code == '\n' ? "\\n" : code == '\r' ? "\\r" : "\\t";
        } else if (is_printable(code)) {
            append_code(out, code);
        } else {
            std::snprintf(form, sizeof form, code < 0x100 ? "\\x%02x" : code < 0x10000 ? "\\u%04x" : "\\U%08x", code);
            out += form;
        }
    });
    out += quote;
}

}  // namespace steadytext::core::jinja
