// Translates character by character: see postgres_pattern.hpp. Regime: pure.
#include "src/core/constraint/postgres_pattern.hpp"

#include <algorithm>
#include <utility>
#include <vector>

namespace steadytext::core::constraint {

namespace {

constexpr std::size_t kEndless = SchemaPattern::kEndless;
constexpr std::string_view kAnyCharacter = "(?:.|[\\n\\r\\u2028\\u2029])";  // a schema's `.` is none that ends a line

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

std::size_t plus(std::size_t a, std::size_t b) { return b > kEndless - a ? kEndless : a + b; }
std::size_t times(std::size_t a, std::size_t b) { return a != 0 && b > kEndless / a ? kEndless : a * b; }

class Translator {
public:
    Translator(std::string_view pattern, bool ascii, SchemaPattern &result)
        : pattern_(pattern), ascii_(ascii), result_(result) {}

    bool translate() {
        if (pattern_.starts_with("***"))
            return false;  // an option
        while (at_ < pattern_.size())
            if (!translate_one())
                return false;
        if (open_.size() != 1)
            return false;
        const bool anchored = pattern_.starts_with('^') && ends_at_end_ && !has_alternatives_;
        result_.longest = anchored ? open_.back().sum : kEndless;
        return true;
    }

private:
    // The most characters of a group as read so far: `best` of its earlier alternatives, `sum` of the current
    // alternative, `last` of its last element.
    struct Group {
        std::size_t best = 0, sum = 0, last = 0;
    };

    [[nodiscard]] char peek(std::size_t ahead = 0) const {
        return at_ + ahead < pattern_.size() ? pattern_[at_ + ahead] : '\0';
    }
    bool put(std::string_view text) {
        result_.text.append(text);
        return true;
    }
    bool put_atom(std::string_view text, std::size_t length = 1) {
        is_repeated_ = false;
        open_.back().sum = plus(open_.back().sum, length);
        open_.back().last = length;
        return put(text);
    }

    bool translate_one() {
        const char c = pattern_[at_++];
        ends_at_end_ = c == '$';
        switch (c) {
        case '\\':
            return translate_escape();
        case '[':
            return translate_class();
        case '.':
            result_.matches_blank = true;
            return put_atom(kAnyCharacter);
        case '(':
            return begin_group();
        case ')':
            return end_group();
        case '|':
            has_alternatives_ |= open_.size() == 1;
            open_.back() = {.best = std::max(open_.back().best, open_.back().sum)};
            return put("|");
        case '^':
        case '$':
            return put_atom(std::string_view(&c, 1), 0);
        case '*':
        case '+':
            return repeat(std::string_view(&c, 1), kEndless);
        case '?':
            return repeat("?", 1);
        case '{':
            return is_digit(peek()) ? repeat_counted() : put_atom("\\{");
        case '}':
            return put_atom("\\}");
        case ']':
            return put_atom("\\]");
        default:
            result_.matches_blank |= c == ' ';
            return c != '\0' && put_atom(std::string_view(&c, 1));
        }
    }

    bool begin_group() {
        const bool plain = peek() == '?';
        if (plain && peek(1) != ':')
            return false;
        at_ += plain ? 2 : 0;
        open_.emplace_back();
        return put(plain ? "(?:" : "(");
    }

    bool end_group() {
        if (open_.size() == 1)
            return false;
        const std::size_t longest = std::max(open_.back().best, open_.back().sum);
        open_.pop_back();
        return put_atom(")", longest);
    }

    // A lazy repetition matches the same texts.
    bool repeat(std::string_view text, std::size_t most) {
        if (std::exchange(is_repeated_, true))
            return false;
        Group &group = open_.back();
        if (group.sum != kEndless) {
            const std::size_t before = group.sum - group.last;
            group.last = times(group.last, most);
            group.sum = plus(before, group.last);
        }
        at_ += peek() == '?' ? 1 : 0;
        return put(text);
    }

    bool repeat_counted() {
        const std::size_t end = pattern_.find('}', at_);
        if (end == std::string_view::npos || end - at_ > 7)
            return false;
        const std::string_view bounds = pattern_.substr(at_, end - at_);
        const std::size_t comma = bounds.find(',');
        std::size_t most = 0;
        for (const char c : comma == std::string_view::npos ? bounds : bounds.substr(comma + 1)) {
            if (!is_digit(c))
                return false;
            most = most * 10 + static_cast<std::size_t>(c - '0');
        }
        at_ = end + 1;
        return repeat(std::string("{").append(bounds).append("}"), comma + 1 == bounds.size() ? kEndless : most);
    }

    // Called after the backslash. In a class, a shorthand for many characters is written without brackets.
    bool translate_escape() {
        const char c = peek();
        at_++;
        const std::string escape{'\\', c};
        return is_known_escape(c) && put_atom(c == 'S' || (c == 'w' && !ascii_) ? widened(escape) : escape);
    }

    bool is_known_escape(char c) {
        constexpr std::string_view kLetters = "dswDSWtnrfvu";
        result_.matches_blank |= c == ' ' || (is_letter(c) && c != 'd' && c != 'S' && c != 'w');
        return is_letter(c) ? kLetters.find(c) != std::string_view::npos : c > ' ' && c < '\x7f' && !is_digit(c);
    }

    // The locale decides which characters beyond ASCII are in a class, so all of them are allowed.
    static std::string widened(const std::string &set) { return "(?:" + set + "|[^\\u0001-\\u007f])"; }

    // Called after the bracket.
    bool translate_class() {
        const std::size_t begin = result_.text.size();
        wide_ = false;
        const bool negated = peek() == '^';
        at_ += negated ? 1 : 0;
        result_.matches_blank |= negated;
        put_atom(negated ? "[^" : "[");
        for (bool first = true; first || peek() != ']'; first = false)
            if (at_ >= pattern_.size() || !translate_member(negated))
                return false;
        at_++;
        put("]");
        if (wide_)
            result_.text.replace(begin, std::string::npos, widened(result_.text.substr(begin)));
        return true;
    }

    bool translate_member(bool negated) {
        const char c = pattern_[at_++];
        if (c == '\\') {
            const char letter = peek();
            at_++;
            wide_ |= negated ? letter == 's' : letter == 'S' || (letter == 'w' && !ascii_);
            return is_known_escape(letter) && !(negated && (letter == 'D' || letter == 'S' || letter == 'W')) &&
                   put(std::string{'\\', letter});
        }
        if (c == '[' && (peek() == '.' || peek() == '='))
            return false;
        if (c == '[' && peek() == ':')
            return translate_named(negated);
        result_.matches_blank |= c == ' ';
        return c != '\0' && put(c == ']' || c == '[' ? std::string{'\\', c} : std::string(1, c));
    }

    bool translate_named(bool negated) {
        const std::size_t end = pattern_.find(":]", at_ + 1);
        if (end == std::string_view::npos)
            return false;
        const std::string_view name = pattern_.substr(at_ + 1, end - at_ - 1);
        at_ = end + 2;
        result_.matches_blank |= name == "space" || name == "blank";
        wide_ |= negated && name == "space";
        constexpr std::pair<std::string_view, std::string_view> kSame[] = {
            {"digit", "\\d"}, {"space", "\\s"}, {"blank", " \\t"}, {"xdigit", "0-9A-Fa-f"}};
        for (const auto &[known, members] : kSame)
            if (name == known)
                return put(members);
        constexpr std::pair<std::string_view, std::string_view> kOfLocale[] = {
            {"alpha", "A-Za-z"}, {"alnum", "0-9A-Za-z"}, {"upper", "A-Z"}, {"lower", "a-z"}, {"word", "\\w"}};
        for (const auto &[known, members] : kOfLocale)
            if (name == known) {
                wide_ |= !negated && !ascii_;
                return put(members);
            }
        return false;
    }

    std::string_view pattern_;
    bool ascii_;
    bool wide_ = false;  // of the current class
    SchemaPattern &result_;
    std::size_t at_ = 0;
    bool ends_at_end_ = false;
    bool has_alternatives_ = false;
    bool is_repeated_ = false;  // the last element
    std::vector<Group> open_{Group{}};
};

}  // namespace

bool schema_pattern(std::string_view pattern, bool ascii, SchemaPattern &result) {
    result = {};
    return Translator(pattern, ascii, result).translate();
}

bool schema_pattern_of_like(std::string_view like, SchemaPattern &result) {
    result = {.text = "^", .longest = 0};
    bool after_percent = false;
    for (std::size_t i = 0; i < like.size(); i++) {
        char c = like[i];
        if (c == '%' && after_percent)
            continue;
        after_percent = c == '%';
        if (c == '%' || c == '_') {
            result.text.append(kAnyCharacter).append(c == '%' ? "*" : "");
            result.longest = c == '%' ? kEndless : plus(result.longest, 1);
            result.matches_blank = true;
            continue;
        }
        if (c == '\\') {
            if (++i == like.size())
                return false;
            c = like[i];
        }
        if (c > ' ' && c < '\x7f' && !is_letter(c) && !is_digit(c))
            result.text += '\\';
        result.text += c;
        result.longest = plus(result.longest, 1);
        result.matches_blank |= c == ' ';
    }
    result.text += '$';
    return true;
}

}  // namespace steadytext::core::constraint
