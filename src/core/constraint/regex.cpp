// Reading patterns, and building their networks by Thompson's construction: see regex.hpp. Regime: pure.
#include "src/core/constraint/regex.hpp"

#include "src/core/constraint/code_points.hpp"
#include "src/core/utf8.hpp"

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

// What `.` and negated classes range over: no control characters.
const CodePoints &printable() {
    static const auto *set = new CodePoints{{0x20, 0x7E}, {0xA0, 0xD7FF}, {0xE000, 0xFFFD}, {0x10000, 0x10FFFD}};
    return *set;
}
const CodePoints &ascii_printable() {
    static const auto *set = new CodePoints{{0x20, 0x7E}};
    return *set;
}

const std::map<std::string_view, CodePoints> &named_classes() {
    static const auto *classes = new std::map<std::string_view, CodePoints>{
        {"alnum", {{'0', '9'}, {'A', 'Z'}, {'a', 'z'}}},
        {"alpha", {{'A', 'Z'}, {'a', 'z'}}},
        {"digit", {{'0', '9'}}},
        {"lower", {{'a', 'z'}}},
        {"punct", {{'!', '/'}, {':', '@'}, {'[', '`'}, {'{', '~'}}},
        {"space", {{'\t', '\r'}, {' ', ' '}}},
        {"upper", {{'A', 'Z'}}},
        {"xdigit", {{'0', '9'}, {'A', 'F'}, {'a', 'f'}}}};
    return *classes;
}

// \d \w \s, and in capitals what they are not.
std::optional<CodePoints> shorthand(std::uint32_t letter) {
    CodePoints set;
    switch (letter | 0x20) {
    case 'd':
        set = named_classes().at("digit");
        break;
    case 's':
        set = named_classes().at("space");
        break;
    case 'w':
        set = named_classes().at("alnum");
        set.add('_', '_');
        break;
    default:
        return std::nullopt;
    }
    return (letter & 0x20) != 0 ? set : set.complement(ascii_printable());
}

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
    // `posix`: [[:alpha:]] is a class, not one of other characters.
    Reader(std::string_view pattern, bool posix, Problem &problem) : pattern_(pattern), posix_(posix), problem_(problem) {}

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
            return {.kind = Node::Kind::Set, .set = printable()};
        if (peek() == '*' || peek() == '+' || peek() == '?')
            complain(kBroken, "A quantifier has nothing to repeat.");
        if (take("\\"))
            return {.kind = Node::Kind::Set, .set = read_escape()};
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
    CodePoints read_escape() {
        CodePoints set;
        if (at_end()) {
            complain(kBroken, "It ends with a backslash.");
            return set;
        }
        const std::uint32_t code = take_code_point();
        if (const auto many = shorthand(code))
            return *many;
        if (const auto control = control_escape(code)) {
            set.add(*control, *control);
        } else if (code == 'u') {
            const std::uint32_t written = read_hexadecimal();
            set.add(written, written);
        } else if (is_ascii_letter_or_digit(code)) {
            complain(kUnsupported, "There are no back references, and of letters after a backslash only d w s D W S t n r f v u.");
        } else {
            set.add(code, code);
        }
        return set;
    }

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
        std::vector<CodePoints::Range> members;
        bool of_ascii = false;  // it has a part that speaks of ASCII, so its complement does too
        do {  // a bracket that comes first is a member
            if (at_end()) {
                complain(kBroken, "A bracket is not closed.");
                return {};
            }
            const CodePoints item = read_class_item(of_ascii);
            members.insert(members.end(), item.ranges().begin(), item.ranges().end());
        } while (!take("]"));
        const CodePoints set(std::move(members));
        return negated ? set.complement(of_ascii ? ascii_printable() : printable()) : set;
    }

    CodePoints read_class_item(bool &of_ascii) {
        if (posix_ && take("[:"))
            return of_ascii = true, read_named_class();
        if (!posix_ && peek() == '[' && peek(1) == ':') {
            complain(kUnsupported, "Patterns of schemas have no named classes.");
            return {};
        }
        if (peek() == '[' && (peek(1) == '.' || peek(1) == '=')) {
            complain(kUnsupported, "There are no collating elements in classes.");
            return {};
        }
        CodePoints low = read_class_member(of_ascii);
        const bool single = low.ranges().size() == 1 && low.ranges()[0].first == low.ranges()[0].second;
        if (peek() != '-' || peek(1) == ']' || at_ + 1 >= pattern_.size())
            return low;
        at_++;
        const CodePoints high = read_class_member(of_ascii);
        if (!single || high.ranges().size() != 1 || high.ranges()[0].first != high.ranges()[0].second ||
            high.ranges()[0].first < low.ranges()[0].first) {
            complain(kBroken, "A range in a class is not from a character to a later one.");
            return {};
        }
        low.add(low.ranges()[0].first, high.ranges()[0].first);
        return low;
    }

    CodePoints read_class_member(bool &of_ascii) {
        if (take("\\")) {
            of_ascii = of_ascii || shorthand(static_cast<unsigned char>(peek()));
            return read_escape();
        }
        CodePoints one;
        const std::uint32_t code = take_code_point();
        one.add(code, code);
        return one;
    }

    CodePoints read_named_class() {
        const std::size_t end = pattern_.find(":]", at_);
        const auto found = end == std::string_view::npos ? named_classes().end()
                                                         : named_classes().find(pattern_.substr(at_, end - at_));
        if (found == named_classes().end()) {
            complain(kUnsupported, "Named classes are alnum, alpha, digit, lower, punct, space, upper and xdigit.");
            return {};
        }
        at_ = end + 2;
        return found->second;
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
    bool posix_;
    Problem &problem_;
    std::size_t at_ = 0;
};

// ---- anchors -------------------------------------------------------------------------------------------------------

bool contains_anchor(const Node &node) {
    return node.kind == Node::Kind::Begin || node.kind == Node::Kind::End ||
           std::any_of(node.parts.begin(), node.parts.end(), contains_anchor);
}

// `first`, `last`: nothing stands before the node, or after it, in the whole pattern.
bool anchors_can_hold(const Node &node, bool first, bool last) {
    switch (node.kind) {
    case Node::Kind::Begin:
        return first;
    case Node::Kind::End:
        return last;
    case Node::Kind::Repetition:
        return !contains_anchor(node);
    default:
        break;
    }
    // Of a sequence, a part comes first if only anchors stand before it, and last if only anchors follow.
    const bool in_order = node.kind == Node::Kind::Sequence;
    const auto is_anchor = [](const Node &part) { return part.kind == Node::Kind::Begin || part.kind == Node::Kind::End; };
    const auto first_other = std::find_if_not(node.parts.begin(), node.parts.end(), is_anchor);
    const auto last_other = std::find_if_not(node.parts.rbegin(), node.parts.rend(), is_anchor);
    for (auto part = node.parts.begin(); part != node.parts.end(); ++part) {
        const bool part_first = first && (!in_order || part <= first_other);
        const bool part_last = last && (!in_order || part + 1 >= last_other.base());
        if (!anchors_can_hold(*part, part_first, part_last))
            return false;
    }
    return true;
}

// ---- building ------------------------------------------------------------------------------------------------------

class Builder {
public:
    Builder(Network &network, Encoding encoding) : network_(network), encoding_(encoding) {}

    void build(const Node &node, State from, State to) {
        if (!network_.fits())
            return;
        switch (node.kind) {
        case Node::Kind::Set:
            return build_set(node.set, from, to);
        case Node::Kind::Alternatives:
            for (const Node &part : node.parts)
                build(part, from, to);
            return;
        case Node::Kind::Repetition:
            return build_repetition(node, from, to);
        case Node::Kind::Sequence:
            for (const Node &part : node.parts)
                from = build_after(part, from);
            break;
        case Node::Kind::Begin:
        case Node::Kind::End:
            break;
        }
        network_.add_empty(from, to);
    }

private:
    State build_after(const Node &node, State from) {
        const State to = network_.add_state();
        build(node, from, to);
        return to;
    }

    void build_repetition(const Node &node, State from, State to) {
        const Node &part = node.parts.front();
        for (int i = 0; i < node.least; i++)
            from = build_after(part, from);
        if (node.most < 0) {
            const State loop = network_.add_state();
            network_.add_empty(from, loop);
            build(part, loop, loop);
            from = loop;
        }
        for (int i = node.least; i < node.most; i++) {
            network_.add_empty(from, to);
            from = build_after(part, from);
        }
        network_.add_empty(from, to);
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
        const bool plain = encoding_ == Encoding::Plain;
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
    Encoding encoding_;
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

bool add_regex(std::string_view pattern, Encoding encoding, Network &network, State from, State to, Problem &problem) {
    if (pattern.size() > kMostPatternBytes) {
        problem.set(sqlstate::kProgramLimitExceeded, "regular expression is too long");
        problem.with_detail("It has %zu bytes; the limit is %zu.", pattern.size(), kMostPatternBytes);
        return false;
    }
    const Node node = Reader(pattern, encoding == Encoding::Plain, problem).read();
    if (problem.is_set())
        return false;
    if (!anchors_can_hold(node, true, true)) {
        problem.set(kUnsupported, "regular expression is not supported");
        problem.with_detail("^ or $ stands where it cannot hold, or is repeated.");
        return false;
    }
    Builder(network, encoding).build(node, from, to);
    return check_size(network, "regular expression", problem);
}

bool compile_regex(std::string_view pattern, Network &network, Problem &problem, Work *work) {
    const auto build = [&] { return add_regex(pattern, Encoding::Plain, network, network.start(), network.end(), problem); };
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
