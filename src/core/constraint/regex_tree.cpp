// Reading patterns: see regex_tree.hpp. Regime: pure.
#include "src/core/constraint/regex_tree.hpp"

#include "src/core/constraint/alphabet.hpp"
#include "src/core/utf8.hpp"

#include <optional>

namespace steadytext::core::constraint {

namespace {

constexpr int kMaxRepetitions = 255;  // as in PostgreSQL
constexpr int kMaxNesting = 100;
constexpr const char *kUnsupported = sqlstate::kFeatureNotSupported;

std::optional<std::uint32_t> control_escape(std::uint32_t letter) {
    constexpr std::string_view kLetters = "tnvfr";
    const std::size_t at = letter < 0x80 ? kLetters.find(static_cast<char>(letter)) : std::string_view::npos;
    return at == std::string_view::npos ? std::nullopt : std::optional<std::uint32_t>(9 + at);
}

bool is_ascii_letter_or_digit(std::uint32_t code) {
    return (code >= '0' && code <= '9') || (code >= 'A' && code <= 'Z') || (code >= 'a' && code <= 'z');
}

// Keeps the first complaint; after it, everything is skipped.
class Reader {
public:
    Reader(std::string_view pattern, const RegexForm &form, Problem &problem)
        : pattern_(pattern), form_(form), problem_(problem) {}

    RegexNode read() {
        if (!utf8_is_valid(pattern_)) {
            complain(kBrokenPattern, "It is not valid UTF-8.");
            return {};
        }
        RegexNode node = read_alternatives(0);
        if (at_ < pattern_.size())
            complain(kBrokenPattern, "A parenthesis is closed that was not opened.");
        return node;
    }

private:
    void complain(const char *state, const char *why) {
        if (!problem_.is_set()) {
            if (std::string_view(state) == kBrokenPattern)
                problem_.set(state, "invalid regular expression");
            else
                problem_.set(state, "regular expression is not supported");
            problem_.with_detail("%s", why);
            problem_.with_hint(
                "Supported are literals, ., classes, \\d \\w \\s, groups, |, ?, *, +, {m,n}, lazy forms, ^ and $.");
        }
        at_ = pattern_.size();
    }

    [[nodiscard]] bool at_end() const { return at_ == pattern_.size(); }
    [[nodiscard]] char peek(std::size_t ahead = 0) const {
        return at_ + ahead < pattern_.size() ? pattern_[at_ + ahead] : '\0';
    }
    bool take(std::string_view what) {
        if (!pattern_.substr(at_).starts_with(what))
            return false;
        at_ += what.size();
        return true;
    }
    std::uint32_t take_code_point() {
        std::uint32_t code = 0;
        if (!at_end())
            at_ += utf8_decode(pattern_, at_, code);
        return code;
    }

    RegexNode read_alternatives(int depth) {
        RegexNode node{.kind = RegexNode::Kind::Alternatives};
        if (depth > kMaxNesting)
            complain(kUnsupported, "It is nested too deeply.");
        do
            node.parts.push_back(read_sequence(depth));
        while (take("|"));
        return node;
    }

    RegexNode read_sequence(int depth) {
        RegexNode sequence{.kind = RegexNode::Kind::Sequence};
        while (!at_end() && peek() != '|' && peek() != ')') {
            RegexNode atom = read_atom(depth);
            sequence.parts.push_back(read_quantifier(std::move(atom)));
        }
        return sequence;
    }

    RegexNode read_atom(int depth) {
        if (take("("))
            return read_group(depth);
        if (take("["))
            return {.kind = RegexNode::Kind::Set, .set = read_class()};
        if (take("^"))
            return {.kind = RegexNode::Kind::Begin};
        if (take("$"))
            return {.kind = RegexNode::Kind::End};
        if (take("."))
            return {.kind = RegexNode::Kind::Set, .set = any_character(form_.alphabet)};
        if (peek() == '*' || peek() == '+' || peek() == '?')
            complain(kBrokenPattern, "A quantifier has nothing to repeat.");
        if (take("\\"))
            return {.kind = RegexNode::Kind::Set, .set = members(read_escape(), false, form_.alphabet)};
        CodePoints literal;
        const std::uint32_t code = take_code_point();
        literal.add(code, code);
        return {.kind = RegexNode::Kind::Set, .set = literal};
    }

    RegexNode read_group(int depth) {
        if (!take("?:") && peek() == '?')
            complain(kUnsupported, "Groups may begin with ?: only; there are no look-arounds, names or options.");
        RegexNode group = read_alternatives(depth + 1);
        if (!take(")"))
            complain(kBrokenPattern, "A parenthesis is not closed.");
        return group;
    }

    // Called after the backslash.
    CharacterClass read_escape() {
        if (at_end()) {
            complain(kBrokenPattern, "It ends with a backslash.");
            return {};
        }
        const std::uint32_t code = take_code_point();
        if (const auto many = shorthand(code, form_.alphabet))
            return *many;
        if (const auto control = control_escape(code))
            return single(*control);
        if (code == 'u')
            return single(read_hexadecimal());
        if (is_ascii_letter_or_digit(code))
            complain(kUnsupported,
                     "There are no back references, and of letters after a backslash only d w s D W S t n r f v u.");
        return single(code);
    }

    static CharacterClass single(std::uint32_t code) { return {{{code, code}}, {{code, code}}}; }

    std::uint32_t read_hexadecimal() {
        std::uint32_t code = 0;
        for (int i = 0; i < 4; i++) {
            const char digit = peek();
            const std::size_t value = std::string_view("0123456789abcdef").find(static_cast<char>(digit | 0x20));
            if (value == std::string_view::npos || !is_ascii_letter_or_digit(static_cast<unsigned char>(digit))) {
                complain(kBrokenPattern, "\\u needs four hexadecimal digits.");
                return 0;
            }
            code = code << 4 | static_cast<std::uint32_t>(value);
            at_++;
        }
        if (code == 0 || (code >= 0xD800 && code <= 0xDFFF))
            complain(kBrokenPattern, "\\u names no character.");
        return code;
    }

    // Called after the opening bracket.
    CodePoints read_class() {
        const bool negated = take("^");
        std::vector<CodePoints::Range> least, most;
        do {  // a bracket that comes first is a member
            if (at_end()) {
                complain(kBrokenPattern, "A bracket is not closed.");
                return {};
            }
            const CharacterClass item = read_class_item();
            least.insert(least.end(), item.least.ranges().begin(), item.least.ranges().end());
            most.insert(most.end(), item.most.ranges().begin(), item.most.ranges().end());
        } while (!take("]"));
        return members({CodePoints(std::move(least)), CodePoints(std::move(most))}, negated, form_.alphabet);
    }

    CharacterClass read_class_item() {
        const bool posix = !form_.of_schema;
        if (posix && take("[:"))
            return read_named_class();
        if (!posix && peek() == '[' && peek(1) == ':') {
            complain(kUnsupported, "Patterns of schemas have no named classes.");
            return {};
        }
        if (peek() == '[' && (peek(1) == '.' || peek(1) == '=')) {
            complain(kUnsupported, "There are no collating elements in classes.");
            return {};
        }
        const CharacterClass low = read_class_member();
        if (peek() != '-' || peek(1) == ']' || at_ + 1 >= pattern_.size())
            return low;
        at_++;
        const std::optional<std::uint32_t> first = only_member(low);
        const std::optional<std::uint32_t> last = only_member(read_class_member());
        if (!first || !last || *last < *first) {
            complain(kBrokenPattern, "A range in a class is not from a character to a later one.");
            return {};
        }
        return {{{*first, *last}}, {{*first, *last}}};
    }

    static std::optional<std::uint32_t> only_member(const CharacterClass &cls) {
        const auto &ranges = cls.most.ranges();
        return ranges.size() == 1 && ranges[0].first == ranges[0].second ? std::optional(ranges[0].first)
                                                                         : std::nullopt;
    }

    CharacterClass read_class_member() { return take("\\") ? read_escape() : single(take_code_point()); }

    CharacterClass read_named_class() {
        const std::size_t end = pattern_.find(":]", at_);
        const CharacterClass *found =
            end == std::string_view::npos ? nullptr : named_class(pattern_.substr(at_, end - at_));
        if (found == nullptr) {
            complain(kUnsupported, "Named classes are alnum, alpha, digit, lower, punct, space, upper and xdigit.");
            return {};
        }
        at_ = end + 2;
        return *found;
    }

    RegexNode read_quantifier(RegexNode atom) {
        RegexNode repetition{.kind = RegexNode::Kind::Repetition, .least = 0, .most = -1};
        if (take("?"))
            repetition.most = 1;
        else if (take("+"))
            repetition.least = 1;
        else if (peek() == '{' && peek(1) >= '0' && peek(1) <= '9')
            read_bound(repetition);
        else if (!take("*"))
            return atom;
        (void)take("?");  // lazy: the whole text matches the same
        if (peek() == '*' || peek() == '+' || peek() == '?')
            complain(kBrokenPattern, "A quantifier follows another.");
        if (atom.kind == RegexNode::Kind::Begin || atom.kind == RegexNode::Kind::End)
            complain(kBrokenPattern, "A quantifier has nothing to repeat.");
        repetition.parts.push_back(std::move(atom));
        return repetition;
    }

    void read_bound(RegexNode &repetition) {
        at_++;
        repetition.least = repetition.most = read_count();
        if (take(","))
            repetition.most = peek() == '}' ? -1 : read_count();
        if (!take("}") || (repetition.most >= 0 && repetition.most < repetition.least))
            complain(kBrokenPattern, "Repetitions are {m}, {m,} or {m,n} with m not greater than n.");
    }

    int read_count() {
        int count = 0;
        if (peek() < '0' || peek() > '9')
            complain(kBrokenPattern, "Repetitions are {m}, {m,} or {m,n} with m not greater than n.");
        for (; peek() >= '0' && peek() <= '9' && count <= kMaxRepetitions; at_++)
            count = count * 10 + (peek() - '0');
        if (count > kMaxRepetitions)
            complain(kBrokenPattern, "At most 255 repetitions can be named.");
        return count;
    }

    std::string_view pattern_;
    const RegexForm &form_;
    Problem &problem_;
    std::size_t at_ = 0;
};

}  // namespace

RegexNode read_regex(std::string_view pattern, const RegexForm &form, Problem &problem) {
    if (pattern.size() <= kMaxPatternBytes)
        return Reader(pattern, form, problem).read();
    problem.set(sqlstate::kProgramLimitExceeded, "regular expression is too long");
    problem.with_detail("It has %zu bytes; the limit is %zu.", pattern.size(), kMaxPatternBytes);
    return {};
}

}  // namespace steadytext::core::constraint
