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

// ---- case
// ---------------------------------------------------------------------------------------------------------------

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

// ---- lines and words
// -------------------------------------------------------------------------------------------------------

std::vector<std::string_view> lines(std::string_view text, Bounds::Scratch &scratch) {
    std::vector<std::string_view> out;
    std::size_t begin = 0;
    for (std::size_t at = 0, length; at < text.size(); at += length) {
        const std::uint32_t code = code_at(text, at, length);
        if (!((code >= 10 && code <= 13) || (code >= 0x1C && code <= 0x1E) || code == 0x85 || code == 0x2028 ||
              code == 0x2029))
            continue;
        scratch.add(out, text.substr(begin, at - begin));
        if (code == '\r' && at + 1 < text.size() && text[at + 1] == '\n')
            at++;
        begin = at + length;
    }
    if (begin < text.size())
        scratch.add(out, text.substr(begin));
    return out;
}

namespace {

// A line as code points with the byte of each, for textwrap's regular expressions.
class Codes {
public:
    Codes(std::string_view text, Bounds::Scratch &scratch) {
        scratch.take((text.size() + 1) * (sizeof codes_[0] + sizeof bytes_[0]));
        codes_.reserve(text.size());
        bytes_.reserve(text.size() + 1);
        for (std::size_t at = 0, length; at < text.size(); at += length) {
            bytes_.push_back(static_cast<std::uint32_t>(at));
            codes_.push_back(code_at(text, at, length));
        }
        bytes_.push_back(static_cast<std::uint32_t>(text.size()));
    }
    [[nodiscard]] std::size_t size() const { return codes_.size(); }
    [[nodiscard]] std::size_t byte(std::size_t i) const { return bytes_[i]; }
    [[nodiscard]] std::uint32_t at(std::size_t i) const { return i < codes_.size() ? codes_[i] : 0; }
    [[nodiscard]] bool is(std::size_t i, char what) const {
        return i < codes_.size() && codes_[i] == static_cast<unsigned char>(what);
    }
    [[nodiscard]] bool space(std::size_t i) const {
        return i < size() && (at(i) == ' ' || (at(i) >= 9 && at(i) <= 13));
    }
    [[nodiscard]] bool word(std::size_t i) const { return i < size() && is_word(at(i)); }
    [[nodiscard]] bool letter(std::size_t i) const { return word(i) && !is_digit(at(i)); }
    [[nodiscard]] bool part(std::size_t i) const {
        return i < size() && (word(i) || (at(i) < 0x80 && std::string_view("!\"'&.,?").find(static_cast<char>(at(i))) !=
                                                              std::string_view::npos));
    }
    // Where a row of two or more hyphens ends that has a word behind it; 0 if there is none here.
    [[nodiscard]] std::size_t dash(std::size_t i) const {
        std::size_t end = i;
        while (is(end, '-'))
            end++;
        return end >= i + 2 && word(end) ? end : 0;
    }

private:
    std::vector<std::uint32_t> codes_;
    std::vector<std::uint32_t> bytes_;  // of a text of at most Bounds::kMaxMemory
};

// One chunk of textwrap's wordsep_re (3.11) from `begin` on; returns its end.
std::size_t chunk_end(const Codes &codes, std::size_t begin, bool hyphens) {
    std::size_t end = begin;
    if (codes.space(begin)) {
        while (codes.space(end))
            end++;
        return end;
    }
    if (!hyphens) {
        while (end < codes.size() && !codes.space(end))
            end++;
        return end;
    }
    if (begin > 0 && codes.part(begin - 1))
        if (const std::size_t dash = codes.dash(begin))
            return dash;
    for (end = begin + 1; end < codes.size() && !codes.space(end); end++) {
        const bool breaks = codes.is(end, '-') &&
                            ((end >= 2 && codes.letter(end - 1) && codes.letter(end - 2)) ||
                             (end >= 3 && codes.letter(end - 3) && codes.is(end - 2, '-') && codes.part(end - 1)));
        if (breaks && codes.letter(end + 1) &&
            (codes.letter(end + 2) || (codes.is(end + 2, '-') && codes.letter(end + 3))))
            return end + 1;
        if (codes.part(end - 1) && codes.dash(end) != 0)
            return end;
    }
    return end;
}

}  // namespace

std::vector<std::string_view> wrapped(std::string_view line, std::size_t width, bool break_long_words,
                                      bool break_on_hyphens, Bounds &bounds, Bounds::Scratch &kept) {
    Bounds::Scratch scratch(bounds);
    const Codes codes(line, scratch);
    struct Chunk {
        std::uint32_t begin, end;
        [[nodiscard]] std::size_t size() const { return end - begin; }
    };
    std::vector<Chunk> chunks;
    for (std::size_t at = 0; at < codes.size();) {
        const std::size_t end = chunk_end(codes, at, break_on_hyphens);
        bounds.spend(end - at);
        scratch.add(chunks, {static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(end)});
        at = end;
    }
    const auto blank = [&](const Chunk &chunk) {
        for (std::size_t i = chunk.begin; i < chunk.end; i++)
            if (!is_space(codes.at(i)))
                return false;
        return true;
    };
    // A long chunk is looked at once for each row that is cut off it: the place of what is no space is kept.
    std::uint32_t solid = 0;
    const auto begins_blank = [&](const Chunk &chunk) {
        for (solid = std::max(solid, chunk.begin); solid < chunk.end && is_space(codes.at(solid));)
            solid++;
        return solid >= chunk.end;
    };
    std::vector<std::string_view> out;
    std::size_t next = 0;
    while (next < chunks.size()) {
        bounds.spend();
        std::size_t used = 0;
        std::vector<Chunk> row;
        if (!out.empty() && begins_blank(chunks[next]))
            next++;
        while (next < chunks.size() && used + chunks[next].size() <= width) {
            used += chunks[next].size();
            scratch.add(row, chunks[next++]);
        }
        if (next < chunks.size() && chunks[next].size() > width) {
            Chunk &chunk = chunks[next];
            if (break_long_words) {
                auto end = static_cast<std::uint32_t>(chunk.begin + (width - used));
                if (break_on_hyphens) {
                    std::uint32_t hyphen = end;
                    while (hyphen > chunk.begin && !codes.is(hyphen - 1, '-'))
                        hyphen--;
                    bool others = false;
                    for (std::size_t i = chunk.begin; hyphen > chunk.begin && i + 1 < hyphen; i++)
                        others = others || !codes.is(i, '-');
                    if (others)
                        end = hyphen;
                }
                scratch.add(row, {chunk.begin, end});
                chunk.begin = end;
            } else if (row.empty()) {
                scratch.add(row, chunks[next++]);
            }
        }
        if (!row.empty() && blank(row.back()))
            row.pop_back();
        if (!row.empty())
            kept.add(out, line.substr(codes.byte(row.front().begin),
                                      codes.byte(row.back().end) - codes.byte(row.front().begin)));
    }
    return out;
}

// ---- changes
// ------------------------------------------------------------------------------------------------------------

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
        unsupported("an integer beyond 64 bits");
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
