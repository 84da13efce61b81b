// Reading patterns, and building their networks by Thompson's construction: see regex.hpp. Regime: pure.
#include "src/core/constraint/regex.hpp"

#include "src/core/constraint/alphabet.hpp"
#include "src/core/utf8.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <optional>

namespace steadytext::core::constraint {

namespace {

constexpr int kMostRepetitions = 255;  // as in PostgreSQL
constexpr int kMostNesting = 100;
constexpr const char *kBroken = "2201B";  // invalid_regular_expression
constexpr const char *kUnsupported = sqlstate::kFeatureNotSupported;

struct Node {
    enum class Kind { Set, Sequence, Alternatives, Repetition, Begin, End };
    Kind kind = Kind::Sequence;
    CodePoints set{};
    std::vector<Node> parts{};
    int least = 0;  // of a repetition
    int most = 0;   // -1: no limit
};

std::optional<std::uint32_t> control_escape(std::uint32_t letter) {
    constexpr std::string_view kLetters = "tnvfr";
    const std::size_t at = letter < 0x80 ? kLetters.find(static_cast<char>(letter)) : std::string_view::npos;
    return at == std::string_view::npos ? std::nullopt : std::optional<std::uint32_t>(9 + at);
}

bool is_ascii_letter_or_digit(std::uint32_t code) {
    return (code >= '0' && code <= '9') || (code >= 'A' && code <= 'Z') || (code >= 'a' && code <= 'z');
}

// ---- reading -------------------------------------------------------------------------------------------------------

// The first complaint is kept; after it everything is skipped.
class Reader {
public:
    Reader(std::string_view pattern, const RegexForm &form, Problem &problem) : pattern_(pattern), form_(form), problem_(problem) {}

    Node read() {
        if (!utf8_is_valid(pattern_)) {
            complain(kBroken, "It is not valid UTF-8.");
            return {};
        }
        Node node = read_alternatives(0);
        if (at_ < pattern_.size())
            complain(kBroken, "A parenthesis is closed that was not opened.");
        return node;
    }

private:
    void complain(const char *state, const char *why) {
        if (!problem_.is_set()) {
            if (std::string_view(state) == kBroken)
                problem_.set(state, "invalid regular expression");
            else
                problem_.set(state, "regular expression is not supported");
            problem_.with_detail("%s", why);
            problem_.with_hint("Supported are literals, ., classes, \\d \\w \\s, groups, |, ?, *, +, {m,n}, lazy forms, ^ and $.");
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

    Node read_alternatives(int depth) {
        Node node{.kind = Node::Kind::Alternatives};
        if (depth > kMostNesting)
            complain(kUnsupported, "It is nested too deeply.");
        do
            node.parts.push_back(read_sequence(depth));
        while (take("|"));
        return node;
    }

    Node read_sequence(int depth) {
        Node sequence{.kind = Node::Kind::Sequence};
        while (!at_end() && peek() != '|' && peek() != ')') {
            Node atom = read_atom(depth);
            sequence.parts.push_back(read_quantifier(std::move(atom)));
        }
        return sequence;
    }

    Node read_atom(int depth) {
        if (take("("))
            return read_group(depth);
        if (take("["))
            return {.kind = Node::Kind::Set, .set = read_class()};
        if (take("^"))
            return {.kind = Node::Kind::Begin};
        if (take("$"))
            return {.kind = Node::Kind::End};
        if (take("."))
            return {.kind = Node::Kind::Set, .set = any_character(form_.alphabet)};
        if (peek() == '*' || peek() == '+' || peek() == '?')
            complain(kBroken, "A quantifier has nothing to repeat.");
        if (take("\\"))
            return {.kind = Node::Kind::Set, .set = members(read_escape(), false, form_.alphabet)};
        CodePoints literal;
        const std::uint32_t code = take_code_point();
        literal.add(code, code);
        return {.kind = Node::Kind::Set, .set = literal};
    }

    Node read_group(int depth) {
        if (!take("?:") && peek() == '?')
            complain(kUnsupported, "Groups may begin with ?: only; there are no look-arounds, names or options.");
        Node group = read_alternatives(depth + 1);
        if (!take(")"))
            complain(kBroken, "A parenthesis is not closed.");
        return group;
    }

    // After the backslash.
    CharacterClass read_escape() {
        if (at_end()) {
            complain(kBroken, "It ends with a backslash.");
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
            complain(kUnsupported, "There are no back references, and of letters after a backslash only d w s D W S t n r f v u.");
        return single(code);
    }

    static CharacterClass single(std::uint32_t code) { return {{{code, code}}, {{code, code}}}; }

    std::uint32_t read_hexadecimal() {
        std::uint32_t code = 0;
        for (int i = 0; i < 4; i++) {
            const char digit = peek();
            const std::size_t value = std::string_view("0123456789abcdef").find(static_cast<char>(digit | 0x20));
            if (value == std::string_view::npos || !is_ascii_letter_or_digit(static_cast<unsigned char>(digit))) {
                complain(kBroken, "\\u needs four hexadecimal digits.");
                return 0;
            }
            code = code << 4 | static_cast<std::uint32_t>(value);
            at_++;
        }
        if (code == 0 || (code >= 0xD800 && code <= 0xDFFF))
            complain(kBroken, "\\u names no character.");
        return code;
    }

    // After the opening bracket.
    CodePoints read_class() {
        const bool negated = take("^");
        std::vector<CodePoints::Range> least, most;
        do {  // a bracket that comes first is a member
            if (at_end()) {
                complain(kBroken, "A bracket is not closed.");
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
            complain(kBroken, "A range in a class is not from a character to a later one.");
            return {};
        }
        return {{{*first, *last}}, {{*first, *last}}};
    }

    static std::optional<std::uint32_t> only_member(const CharacterClass &cls) {
        const auto &ranges = cls.most.ranges();
        return ranges.size() == 1 && ranges[0].first == ranges[0].second ? std::optional(ranges[0].first) : std::nullopt;
    }

    CharacterClass read_class_member() { return take("\\") ? read_escape() : single(take_code_point()); }

    CharacterClass read_named_class() {
        const std::size_t end = pattern_.find(":]", at_);
        const CharacterClass *found = end == std::string_view::npos ? nullptr : named_class(pattern_.substr(at_, end - at_));
        if (found == nullptr) {
            complain(kUnsupported, "Named classes are alnum, alpha, digit, lower, punct, space, upper and xdigit.");
            return {};
        }
        at_ = end + 2;
        return *found;
    }

    Node read_quantifier(Node atom) {
        Node repetition{.kind = Node::Kind::Repetition, .least = 0, .most = -1};
        if (take("?"))
            repetition.most = 1;
        else if (take("+"))
            repetition.least = 1;
        else if (peek() == '{' && peek(1) >= '0' && peek(1) <= '9')
            read_bound(repetition);
        else if (!take("*"))
            return atom;
        (void)take("?");  // lazy: the same texts match as a whole
        if (peek() == '*' || peek() == '+' || peek() == '?')
            complain(kBroken, "A quantifier follows another.");
        if (atom.kind == Node::Kind::Begin || atom.kind == Node::Kind::End)
            complain(kBroken, "A quantifier has nothing to repeat.");
        repetition.parts.push_back(std::move(atom));
        return repetition;
    }

    void read_bound(Node &repetition) {
        at_++;
        repetition.least = repetition.most = read_count();
        if (take(","))
            repetition.most = peek() == '}' ? -1 : read_count();
        if (!take("}") || (repetition.most >= 0 && repetition.most < repetition.least))
            complain(kBroken, "Repetitions are {m}, {m,} or {m,n} with m not greater than n.");
    }

    int read_count() {
        int count = 0;
        if (peek() < '0' || peek() > '9')
            complain(kBroken, "Repetitions are {m}, {m,} or {m,n} with m not greater than n.");
        for (; peek() >= '0' && peek() <= '9' && count <= kMostRepetitions; at_++)
            count = count * 10 + (peek() - '0');
        if (count > kMostRepetitions)
            complain(kBroken, "At most 255 repetitions can be named.");
        return count;
    }

    std::string_view pattern_;
    const RegexForm &form_;
    Problem &problem_;
    std::size_t at_ = 0;
};

// ---- anchors -------------------------------------------------------------------------------------------------------

bool contains(const Node &node, Node::Kind kind) {
    return node.kind == kind || std::any_of(node.parts.begin(), node.parts.end(), [&](const Node &part) { return contains(part, kind); });
}

// The pattern is a sequence, and this anchor is its first or last part: taken away, as it needs no states of its own. As most are.
bool take_outer(Node &pattern, Node::Kind kind) {
    if (pattern.parts.size() != 1 || pattern.parts.front().parts.empty())
        return false;
    std::vector<Node> &parts = pattern.parts.front().parts;
    const auto anchor = kind == Node::Kind::Begin ? parts.begin() : parts.end() - 1;
    if (anchor->kind != kind)
        return false;
    parts.erase(anchor);
    return true;
}

// ---- building ------------------------------------------------------------------------------------------------------

// Thompson's construction, of the states of the text that anchors ask for: that nothing was read yet, for ^, and that nothing may be read
// any more, after $. A pattern without such an anchor has no such states.
class Builder {
public:
    Builder(Network &network, const RegexForm &form) : network_(network), form_(form) {}

    // From before the text, or before any part of it where it may match anywhere, to after it.
    void build_all(Node &pattern, State from, State to) {
        const bool anywhere = form_.of_schema;
        const bool begins = take_outer(pattern, Node::Kind::Begin) || !anywhere;
        const bool ends = take_outer(pattern, Node::Kind::End) || !anywhere;
        has_begin_ = contains(pattern, Node::Kind::Begin);
        has_end_ = contains(pattern, Node::Kind::End);
        const Place first = add_place();
        const Place last = add_place();
        network_.add_empty(from, first[0]);
        if (!begins)
            skip(from, first[read()]);
        build(pattern, first, last);
        for_each_side([&](std::size_t side) {
            network_.add_empty(last[side], to);
            if (!ends && (side & kEnded) == 0)
                skip(last[side], to);
        });
    }

private:
    static constexpr std::size_t kRead = 1;   // something was read
    static constexpr std::size_t kEnded = 2;  // nothing may be
    // A state for each side that the pattern has.
    using Place = std::array<State, 4>;

    [[nodiscard]] std::size_t read() const { return has_begin_ ? kRead : 0; }
    [[nodiscard]] std::size_t ended() const { return has_end_ ? kEnded : 0; }

    template <class Visit> void for_each_side(Visit visit) const {
        for (std::size_t side = 0; side < 4; side++)
            if ((side & ~(read() | ended())) == 0)
                visit(side);
    }

    Place add_place() {
        Place place{};
        for_each_side([&](std::size_t side) { place[side] = network_.add_state(); });
        return place;
    }

    void link(const Place &from, const Place &to) {
        for_each_side([&](std::size_t side) { network_.add_empty(from[side], to[side]); });
    }

    // One character or more, whatever they are.
    void skip(State from, State to) {
        const State loop = network_.add_state();
        if (form_.alphabet == Alphabet::Generated) {
            build_set(any_character(form_.alphabet), from, loop);
            build_set(any_character(form_.alphabet), loop, loop);
        } else {
            network_.add_bytes(from, 0, 255, loop);
            network_.add_bytes(loop, 0, 255, loop);
        }
        network_.add_empty(loop, to);
    }

    void build(const Node &node, const Place &from, const Place &to) {
        if (!network_.fits())
            return;
        switch (node.kind) {
        case Node::Kind::Set:
            return for_each_side([&](std::size_t side) {
                if ((side & kEnded) == 0)
                    build_set(node.set, from[side], to[read()]);
            });
        case Node::Kind::Alternatives:
            for (const Node &part : node.parts)
                build(part, from, to);
            return;
        case Node::Kind::Repetition:
            return build_repetition(node, from, to);
        case Node::Kind::Sequence: {
            Place at = from;
            for (const Node &part : node.parts)
                at = build_after(part, at);
            return link(at, to);
        }
        case Node::Kind::Begin:
            return for_each_side([&](std::size_t side) {
                if ((side & kRead) == 0)
                    network_.add_empty(from[side], to[side]);
            });
        case Node::Kind::End:
            return for_each_side([&](std::size_t side) { network_.add_empty(from[side], to[side | kEnded]); });
        }
    }

    Place build_after(const Node &node, const Place &from) {
        const Place to = add_place();
        build(node, from, to);
        return to;
    }

    void build_repetition(const Node &node, Place from, const Place &to) {
        const Node &part = node.parts.front();
        for (int i = 0; i < node.least; i++)
            from = build_after(part, from);
        if (node.most < 0) {
            const Place loop = add_place();
            link(from, loop);
            build(part, loop, loop);
            from = loop;
        }
        for (int i = node.least; i < node.most; i++) {
            link(from, to);
            from = build_after(part, from);
        }
        link(from, to);
    }

    // A set beyond ASCII takes many states, so it is a rule of its own, made once.
    void build_set(const CodePoints &set, State from, State to) {
        const auto &ranges = set.ranges();
        if (ranges.empty() || (ranges.back().second < 0x80 && ranges.size() < 3))
            return write_set(set, from, to);
        const auto [rule, is_new] = rules_.try_emplace(set, 0);
        if (is_new) {
            rule->second = network_.add_rule();
            write_set(set, network_.start(rule->second), network_.end(rule->second));
        }
        network_.add_call(from, rule->second, to);
    }

    void write_set(const CodePoints &set, State from, State to) {
        const bool plain = form_.encoding == Encoding::Plain;
        const CodePoints as_is =
            plain ? set : set.intersection({{0x20, 0x21}, {0x23, 0x5B}, {0x5D, CodePoints::kLast}});
        for (const auto &[first, last] : as_is.ranges())
            network_.add_code_points(from, first, last, to);
        if (plain)
            return;
        constexpr std::string_view kEscaped = "\"\\\b\f\n\r\t";
        constexpr std::string_view kLetters = "\"\\bfnrt";
        for (std::size_t i = 0; i < kEscaped.size(); i++) {
            const auto code = static_cast<std::uint32_t>(kEscaped[i]);
            if (!set.intersection({{code, code}}).is_empty())
                network_.add_empty(network_.add_literal(from, std::string{'\\', kLetters[i]}), to);
        }
    }

    Network &network_;
    const RegexForm &form_;
    bool has_begin_ = false;
    bool has_end_ = false;
    std::map<CodePoints, Rule> rules_;
};

bool check_size(const Network &network, const char *what, Problem &problem) {
    return network.fits() || problem.set(sqlstate::kProgramLimitExceeded, "%s is too large", what);
}

// Builds, finishes and looks at what came of it.
template <class Build>
bool compile(Network &network, const char *what, Problem &problem, Work *work, Build build) {
    Work own(kMostCompilingSteps);
    Work &at_hand = work != nullptr ? *work : own;
    network.charge_to(&at_hand);
    const bool good = build();
    if (good)
        network.finish();
    network.charge_to(nullptr);
    if (at_hand.has_ended()) {
        problem = Problem();
        return at_hand.tell(problem, what);
    }
    return good && check_size(network, what, problem);
}

}  // namespace

bool add_regex(std::string_view pattern, const RegexForm &form, Network &network, State from, State to, Problem &problem) {
    if (pattern.size() > kMostPatternBytes) {
        problem.set(sqlstate::kProgramLimitExceeded, "regular expression is too long");
        problem.with_detail("It has %zu bytes; the limit is %zu.", pattern.size(), kMostPatternBytes);
        return false;
    }
    Node node = Reader(pattern, form, problem).read();
    if (problem.is_set())
        return false;
    Builder(network, form).build_all(node, from, to);
    return check_size(network, "regular expression", problem);
}

bool compile_regex(std::string_view pattern, Network &network, Problem &problem, Work *work, Alphabet alphabet) {
    const RegexForm form{.alphabet = alphabet};
    const auto build = [&] { return add_regex(pattern, form, network, network.start(), network.end(), problem); };
    return compile(network, "regular expression", problem, work, build) &&
           (network.is_satisfiable() || problem.set(kBroken, "no text matches the regular expression"));
}

bool compile_choices(const std::vector<std::string> &choices, Network &network, Problem &problem, Work *work) {
    return compile(network, "the list of choices", problem, work, [&] {
        for (const std::string &choice : choices)
            network.add_empty(network.add_literal(network.start(), choice), network.end());
        return true;
    });
}

}  // namespace steadytext::core::constraint
