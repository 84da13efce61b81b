// The parser: see syntax.hpp. It goes through the grammar as Jinja2's does, and fails with its words.
//
// Called by src/core/jinja/jinja.cpp. Regime: pure (throws, see value.hpp). Recursive descent, bounded by
// Bounds::Level.
#include "src/core/jinja/filters.hpp"
#include "src/core/jinja/lexer.hpp"
#include "src/core/jinja/syntax.hpp"
#include "src/core/jinja/text.hpp"

#include <algorithm>
#include <charconv>
#include <initializer_list>

namespace steadytext::core::jinja {

namespace {

using Type = Token::Type;
using Level = Bounds::Level;
using Words = std::initializer_list<std::string_view>;

class Parser {
public:
    Parser(std::string_view source, Arena &arena) : arena_(arena), tokens_(tokens_of(source, arena.bounds())) {}

    Nodes run() { return statements_until({}); }

private:
    // ---- tokens ----

    [[nodiscard]] const Token &now() const { return tokens_[at_]; }
    [[nodiscard]] const Token &ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
    const Token &next() {
        arena_.bounds().spend();
        const Token &token = tokens_[at_];
        if (at_ + 1 < tokens_.size())
            at_++;
        return token;
    }
    bool skip_operator(std::string_view which) {
        if (!now().is_operator(which))
            return false;
        next();
        return true;
    }
    bool skip_name(std::string_view which) {
        if (!now().is_name(which))
            return false;
        next();
        return true;
    }
    [[noreturn]] void refuse(std::string_view wanted) {
        if (now().is(Type::End))
            fail_syntax("unexpected end of template, expected " + repr(wanted) + ".", now().line);
        fail_syntax("expected token " + repr(wanted) + ", got " + repr(now().described()), now().line);
    }
    [[noreturn]] void refuse_now() { fail_syntax("unexpected " + repr(now().described()), now().line); }
    const Token &expect(Type type, std::string_view wanted) {
        if (!now().is(type))
            refuse(wanted);
        return next();
    }
    void expect_operator(std::string_view which) {
        if (!skip_operator(which))
            refuse(which);
    }
    std::string_view expect_name() { return expect(Type::Name, "name").text; }

    // ---- nodes ----

    Node *node(Is is) {
        Node *made = arena_.make<Node>();
        made->is = is;
        made->line = now().line;
        return made;
    }
    Nodes kept(const std::vector<Node *> &nodes) {
        Node **items = arena_.array<Node *>(nodes.size());
        std::ranges::copy(nodes, items);
        return {items, nodes.size()};
    }
    Node *constant(const Value &value) {
        Node *made = node(Is::Constant);
        made->constant = value;
        return made;
    }
    Node *pair(Is is, std::string_view text, Node *a, Node *b) {
        Node *made = node(is);
        made->text = text;
        made->a = a;
        made->b = b;
        return made;
    }

    // ---- statements ----

    struct Open {
        std::string_view tag;
        std::vector<std::string_view> ends;
    };

    Nodes statements_until(Words ends) {
        const Level level(arena_.bounds());
        std::vector<Node *> nodes;
        for (;;) {
            switch (now().type) {
            case Type::Data: {
                Node *made = node(Is::Data);
                made->text = next().text;
                nodes.push_back(made);
                break;
            }
            case Type::VariableBegin: {
                next();
                Node *made = node(Is::Output);
                made->parts = kept({tuple(true, {})});
                nodes.push_back(made);
                expect(Type::VariableEnd, "end of print statement");
                break;
            }
            case Type::BlockBegin: {
                next();
                if (now().is(Type::Name) && std::ranges::find(ends, now().text) != ends.end())
                    return kept(nodes);
                if (Node *made = statement())
                    nodes.push_back(made);
                expect(Type::BlockEnd, "end of statement block");
                break;
            }
            default:
                return kept(nodes);
            }
        }
    }

    // What stands inside a tag's block, up to one of its ends, whose name is the token at hand.
    Nodes block(std::string_view tag, Words ends) {
        skip_operator(":");
        expect(Type::BlockEnd, "end of statement block");
        open_.push_back({tag, ends});
        const Nodes nodes = statements_until(ends);
        if (now().is(Type::End))
            refuse_tag({});
        open_.pop_back();
        return nodes;
    }
    Nodes whole_block(std::string_view tag, std::string_view end) {
        const Nodes nodes = block(tag, {end});
        next();
        return nodes;
    }

    [[noreturn]] void refuse_tag(std::string_view name) {
        std::string message =
            name.empty() ? "Unexpected end of template." : "Encountered unknown tag " + repr(name) + ".";
        if (!open_.empty()) {
            std::string wanted;
            for (const std::string_view end : open_.back().ends)
                wanted += (wanted.empty() ? "" : " or ") + repr(end);
            const bool known = std::ranges::any_of(
                open_, [&](const Open &open) { return std::ranges::find(open.ends, name) != open.ends.end(); });
            message +=
                !name.empty() && known
                    ? " You probably made a nesting mistake. Jinja is expecting this tag, but currently looking for " +
                          wanted + "."
                    : " Jinja was looking for the following tags: " + wanted + ".";
            message += " The innermost block that needs to be closed is " + repr(open_.back().tag) + ".";
        }
        fail_syntax(message, now().line);
    }

    Node *statement() {
        if (!now().is(Type::Name))
            fail_syntax("tag name expected", now().line);
        const std::string_view tag = now().text;
        if (tag == "for")
            return for_loop();
        if (tag == "if")
            return if_block();
        if (tag == "set")
            return set();
        if (tag == "with")
            return with();
        if (tag == "macro")
            return macro();
        if (tag == "call")
            return call_block();
        if (tag == "filter")
            return filter_block();
        if (tag == "print")
            return print();
        for (const std::string_view other : {"block", "extends", "include", "from", "import", "autoescape"})
            if (tag == other)
                unsupported("the tag " + std::string(tag));
        refuse_tag(tag);
    }

    Node *for_loop() {
        Node *made = node(Is::For);
        next();
        made->a = target({"in"});
        if (has_store(made->a, "loop"))
            fail_syntax("Can't assign to special loop variable in for-loop target", made->line);
        if (!skip_name("in"))
            refuse("in");
        made->b = tuple(false, {"recursive"});
        if (skip_name("if"))
            made->c = expression();
        made->flag = skip_name("recursive");
        made->body = block("for", {"endfor", "else"});
        if (next().text == "else")
            made->parts = whole_block("for", "endfor");
        return made;
    }

    static bool has_store(const Node *target, std::string_view name) {
        if (target->is == Is::Name)
            return target->text == name;
        return std::ranges::any_of(target->parts, [&](const Node *part) { return has_store(part, name); });
    }

    Node *if_block() {
        Node *made = node(Is::If);
        std::vector<Node *> others;
        next();
        made->a = tuple(false, {});
        made->body = block("if", {"elif", "else", "endif"});
        for (;;) {
            const std::string_view end = next().text;
            if (end == "elif") {
                Node *other = node(Is::If);
                other->a = tuple(false, {});
                other->body = block("if", {"elif", "else", "endif"});
                others.push_back(other);
                continue;
            }
            if (end == "else")
                made->more = whole_block("if", "endif");
            break;
        }
        made->parts = kept(others);
        return made;
    }

    Node *set() {
        Node *made = node(Is::Set);
        next();
        if (ahead().is_operator(".")) {
            made->a = node(Is::Member);
            made->a->text = expect_name();
            next();
            made->a->constant = string(expect_name());
        } else {
            made->a = target({});
        }
        if (skip_operator("=")) {
            made->b = tuple(true, {});
            return made;
        }
        made->is = Is::SetBlock;
        made->b = filters(nullptr, false);
        made->body = whole_block("set", "endset");
        return made;
    }

    Node *with() {
        Node *made = node(Is::With);
        std::vector<Node *> targets, values;
        next();
        while (!now().is(Type::BlockEnd)) {
            if (!targets.empty())
                expect_operator(",");
            targets.push_back(target({}));
            expect_operator("=");
            values.push_back(expression());
        }
        made->parts = kept(targets);
        made->more = kept(values);
        made->body = whole_block("with", "endwith");
        return made;
    }

    // The words that a macro's body may say to get what its parameters do not name.
    void finish_macro(Node *made, std::size_t begin) {
        for (std::size_t i = begin; i < at_; i++) {
            if (i > 0 && tokens_[i - 1].is_operator("."))
                continue;
            made->flag = made->flag || tokens_[i].is_name("caller");
            made->takes_args = made->takes_args || tokens_[i].is_name("varargs");
            made->takes_kwargs = made->takes_kwargs || tokens_[i].is_name("kwargs");
        }
        arena_.bounds().spend(at_ - begin);
        for (const Node *parameter : made->parts)
            for (const std::string_view special : {"caller", "varargs", "kwargs"})
                if (parameter->text == special)
                    unsupported("a parameter called " + std::string(special));
    }

    Node *macro() {
        Node *made = node(Is::Macro);
        next();
        made->text = name_to_set();
        signature(made);
        const std::size_t begin = at_;
        made->body = whole_block("macro", "endmacro");
        finish_macro(made, begin);
        return made;
    }

    Node *call_block() {
        Node *made = node(Is::CallBlock);
        next();
        if (now().is_operator("("))
            signature(made);
        made->a = expression();
        if (made->a->is != Is::Call)
            fail_syntax("expected call", made->line);
        const std::size_t begin = at_;
        made->body = whole_block("call", "endcall");
        finish_macro(made, begin);
        return made;
    }

    Node *filter_block() {
        Node *made = node(Is::FilterBlock);
        next();
        made->b = filters(nullptr, true);
        made->body = whole_block("filter", "endfilter");
        return made;
    }

    Node *print() {
        Node *made = node(Is::Output);
        std::vector<Node *> parts;
        next();
        while (!now().is(Type::BlockEnd)) {
            if (!parts.empty())
                expect_operator(",");
            parts.push_back(expression());
        }
        made->parts = kept(parts);
        return made;
    }

    void signature(Node *made) {
        std::vector<Node *> parameters, defaults;
        expect_operator("(");
        while (!now().is_operator(")")) {
            if (!parameters.empty())
                expect_operator(",");
            Node *parameter = node(Is::Name);
            parameter->text = name_to_set();
            parameter->flag = true;
            parameters.push_back(parameter);
            if (skip_operator("="))
                defaults.push_back(expression());
            else if (!defaults.empty())
                fail_syntax("non-default argument follows default argument", now().line);
        }
        expect_operator(")");
        made->parts = kept(parameters);
        made->more = kept(defaults);
    }

    std::string_view name_to_set() {
        const std::string_view name = expect_name();
        for (const std::string_view fixed : {"true", "false", "none", "True", "False", "None"})
            if (name == fixed)
                fail_syntax("can't assign to 'name'", now().line);
        return name;
    }

    Node *target(Words ends) {
        Node *made = tuple(true, ends, true);
        mark_set(made);
        return made;
    }
    void mark_set(Node *made) {
        made->flag = true;
        if (made->is == Is::Tuple)
            for (Node *part : made->parts)
                mark_set(part);
        else if (made->is != Is::Name)
            fail_syntax(made->is == Is::Constant ? "can't assign to 'const'"
                        : made->is == Is::List   ? "can't assign to 'list'"
                                                 : "can't assign to 'dict'",
                        made->line);
    }

    // ---- expressions ----

    Node *expression() {
        const Level level(arena_.bounds());
        Node *left = either();
        while (skip_name("if")) {
            Node *made = node(Is::Choice);
            made->b = left;
            made->a = either();
            made->c = skip_name("else") ? expression() : nullptr;
            left = made;
        }
        return left;
    }

    Node *either() {
        Node *left = both();
        while (skip_name("or"))
            left = pair(Is::Or, {}, left, both());
        return left;
    }
    Node *both() {
        Node *left = negation();
        while (skip_name("and"))
            left = pair(Is::And, {}, left, negation());
        return left;
    }
    Node *negation() {
        if (!now().is_name("not"))
            return comparison();
        const Level level(arena_.bounds());
        next();
        return pair(Is::Not, {}, negation(), nullptr);
    }

    Node *comparison() {
        Node *left = sum();
        std::vector<Node *> operands;
        for (;;) {
            std::string_view op;
            for (const std::string_view one : {"==", "!=", "<", "<=", ">", ">="})
                if (now().is_operator(one))
                    op = one;
            if (now().is_name("in"))
                op = "in";
            else if (now().is_name("not") && ahead().is_name("in")) {
                next();
                op = "not in";
            }
            if (op.empty())
                break;
            next();
            operands.push_back(pair(Is::Operand, op, sum(), nullptr));
        }
        if (operands.empty())
            return left;
        Node *made = pair(Is::Compare, {}, left, nullptr);
        made->parts = kept(operands);
        return made;
    }

    // Every node of a chain is a level of the evaluation.
    template <class Part>
    Node *chain(Words operators, Part part) {
        Node *left = part();
        for (;;) {
            const auto found = now().is(Type::Operator) ? std::ranges::find(operators, now().text) : operators.end();
            if (found == operators.end())
                return left;
            next();
            left = pair(Is::Binary, *found, left, part());
        }
    }
    Node *sum() {
        return chain({"+", "-"}, [this] { return concatenation(); });
    }
    Node *concatenation() {
        std::vector<Node *> parts = {product()};
        while (skip_operator("~"))
            parts.push_back(product());
        if (parts.size() == 1)
            return parts[0];
        Node *made = node(Is::Concat);
        made->parts = kept(parts);
        return made;
    }
    Node *product() {
        return chain({"*", "/", "//", "%"}, [this] { return chain({"**"}, [this] { return unary(true); }); });
    }

    Node *unary(bool with_filter) {
        const Level level(arena_.bounds());
        Node *made;
        if (skip_operator("-"))
            made = pair(Is::Minus, {}, unary(false), nullptr);
        else if (skip_operator("+"))
            made = pair(Is::Plus, {}, unary(false), nullptr);
        else
            made = primary();
        made = postfix(made);
        return with_filter ? filtered(made) : made;
    }

    Node *primary() {
        const Token &token = now();
        switch (token.type) {
        case Type::Name: {
            next();
            const std::string_view name = token.text;
            if (name == "true" || name == "True" || name == "false" || name == "False")
                return constant(truth(name[0] == 't' || name[0] == 'T'));
            if (name == "none" || name == "None")
                return constant(none());
            if (name == "self")
                unsupported("self");
            if (name[0] >= '0' && name[0] <= '9')
                fail_syntax("Invalid character in identifier", token.line);
            return pair(Is::Name, name, nullptr, nullptr);
        }
        case Type::String: {
            std::string text;
            while (now().is(Type::String))
                text += unescaped(next());
            return constant(string(arena_.copy(text)));
        }
        case Type::Integer: {
            std::int64_t value = 0;
            (void)read_whole(next().text, value);
            return constant(whole(value));
        }
        case Type::Float: {
            double value = 0;
            (void)read_real(next().text, value);
            return constant(real(value));
        }
        default:
            break;
        }
        if (skip_operator("(")) {
            Node *made = tuple(true, {}, false, true);
            expect_operator(")");
            return made;
        }
        if (now().is_operator("["))
            return list();
        if (now().is_operator("{"))
            return dict();
        refuse_now();
    }

    // A string's escapes, as Python's.
    std::string unescaped(const Token &token) {
        const std::string_view text = token.text;
        std::string out;
        arena_.bounds().spend(1 + text.size() / 16);
        for (std::size_t i = 0; i < text.size(); i++) {
            if (text[i] != '\\' || i + 1 == text.size()) {
                out += text[i];
                continue;
            }
            const char c = text[++i];
            const auto numbered = [&](std::size_t count, int base, std::size_t from) {
                std::uint32_t code = 0;
                const char *begin = text.data() + from, *end = text.data() + std::min(from + count, text.size());
                const auto [stopped, error] = std::from_chars(begin, end, code, base);
                if (error != std::errc{} ||
                    (base == 16 && (stopped != end || static_cast<std::size_t>(end - begin) != count)))
                    fail_syntax("truncated escape in string", token.line);
                if (code == 0 || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
                    unsupported("a string with a zero or a half of a character");
                append_code(out, code);
                return static_cast<std::size_t>(stopped - begin);
            };
            if (const std::size_t known = std::string_view("\\'\"abfnrtv").find(c); known != std::string_view::npos)
                out += "\\'\"\a\b\f\n\r\t\v"[known];
            else if (c == '\n')
                continue;
            else if (c == 'x' || c == 'u' || c == 'U')
                i += numbered(c == 'x' ? 2 : c == 'u' ? 4 : 8, 16, i + 1);
            else if (c >= '0' && c <= '7')
                i += numbered(3, 8, i) - 1;
            else if (c == 'N')
                unsupported("\\N in a string");
            else
                (out += '\\') += c;
        }
        return out;
    }

    Node *tuple(bool with_choice, Words ends, bool simple = false, bool in_parentheses = false) {
        const Level level(arena_.bounds());
        std::vector<Node *> parts;
        bool is_tuple = false;
        for (;;) {
            if (!parts.empty())
                expect_operator(",");
            if (now().is(Type::VariableEnd) || now().is(Type::BlockEnd) || now().is_operator(")") ||
                (now().is(Type::Name) && std::ranges::find(ends, now().text) != ends.end()))
                break;
            parts.push_back(simple ? primary() : with_choice ? expression() : either());
            if (!now().is_operator(","))
                break;
            is_tuple = true;
        }
        if (!is_tuple) {
            if (!parts.empty())
                return parts[0];
            if (!in_parentheses)
                fail_syntax("Expected an expression, got " + repr(now().described()), now().line);
        }
        Node *made = node(Is::Tuple);
        made->parts = kept(parts);
        return made;
    }

    Node *list() {
        std::vector<Node *> parts;
        expect_operator("[");
        while (!now().is_operator("]")) {
            if (!parts.empty())
                expect_operator(",");
            if (now().is_operator("]"))
                break;
            parts.push_back(expression());
        }
        expect_operator("]");
        Node *made = node(Is::List);
        made->parts = kept(parts);
        return made;
    }

    Node *dict() {
        std::vector<Node *> keys, values;
        expect_operator("{");
        while (!now().is_operator("}")) {
            if (!keys.empty())
                expect_operator(",");
            if (now().is_operator("}"))
                break;
            keys.push_back(expression());
            expect_operator(":");
            values.push_back(expression());
        }
        expect_operator("}");
        Node *made = node(Is::Dict);
        made->parts = kept(keys);
        made->more = kept(values);
        return made;
    }

    // Chains nest to the left without recursion here, but the evaluation recurses: so their length is bounded.
    Node *postfix(Node *made) {
        for (int length = 0;; length++) {
            bound_chain(length);
            if (now().is_operator(".") || now().is_operator("["))
                made = subscript(made);
            else if (now().is_operator("("))
                made = call(made);
            else
                return made;
        }
    }
    Node *filtered(Node *made) {
        for (int length = 0;; length++) {
            bound_chain(length);
            if (now().is_operator("|"))
                made = filters(made, false);
            else if (now().is_name("is"))
                made = test(made);
            else if (now().is_operator("("))
                made = call(made);
            else
                return made;
        }
    }
    static void bound_chain(int length) {
        if (length > Bounds::kMaxDepth)
            throw Failure{Failure::Kind::TooLarge, "the template nests or calls itself too deep"};
    }

    Node *subscript(Node *of) {
        if (skip_operator(".")) {
            const Token &token = next();
            if (token.is(Type::Name))
                return pair(Is::Attribute, token.text, of, nullptr);
            if (!token.is(Type::Integer))
                fail_syntax("expected name or number", token.line);
            std::int64_t number = 0;
            (void)read_whole(token.text, number);
            return pair(Is::Item, {}, of, constant(whole(number)));
        }
        expect_operator("[");
        std::vector<Node *> parts;
        while (!now().is_operator("]")) {
            if (!parts.empty())
                expect_operator(",");
            parts.push_back(slice());
        }
        expect_operator("]");
        if (parts.empty())
            unsupported("an empty subscript");
        if (parts.size() > 1)
            unsupported("a subscript of several values");
        return pair(Is::Item, {}, of, parts[0]);
    }

    Node *slice() {
        Node *parts[3] = {};
        int count = 0;
        if (!now().is_operator(":")) {
            Node *first = expression();
            if (!now().is_operator(":"))
                return first;
            parts[0] = first;
        }
        while (count < 2 && skip_operator(":")) {
            count++;
            if (!now().is_operator(":") && !now().is_operator("]") && !now().is_operator(","))
                parts[count] = expression();
        }
        Node *made = node(Is::Slice);
        made->a = parts[0];
        made->b = parts[1];
        made->c = parts[2];
        return made;
    }

    void arguments(Node *made) {
        std::vector<Node *> parts, keywords;
        expect_operator("(");
        bool first = true;
        while (!now().is_operator(")")) {
            if (!first) {
                expect_operator(",");
                if (now().is_operator(")"))
                    break;
            }
            first = false;
            if (now().is_operator("*") || now().is_operator("**"))
                unsupported("* or ** before an argument");
            if (now().is(Type::Name) && ahead().is_operator("=")) {
                const std::string_view name = next().text;
                next();
                for (const Node *keyword : keywords)
                    if (keyword->text == name)
                        fail_syntax("keyword argument repeated: " + std::string(name), now().line);
                keywords.push_back(pair(Is::Keyword, name, expression(), nullptr));
            } else {
                if (!keywords.empty())
                    fail_syntax("invalid syntax for function call expression", now().line);
                parts.push_back(expression());
            }
        }
        expect_operator(")");
        made->parts = kept(parts);
        made->more = kept(keywords);
    }

    Node *call(Node *what) {
        Node *made = pair(Is::Call, {}, what, nullptr);
        arguments(made);
        return made;
    }

    std::string_view dotted_name() {
        const std::string_view name = expect_name();
        if (now().is_operator("."))
            fail_syntax("No filter or test named " + repr(std::string(name) + "." + std::string(ahead().text)) + ".",
                        now().line);
        return name;
    }

    Node *filters(Node *made, bool begun) {
        for (int length = 0; begun || now().is_operator("|"); length++) {
            bound_chain(length);
            if (!begun)
                next();
            begun = false;
            Node *filter = node(Is::Filter);
            filter->a = made;
            filter->text = dotted_name();
            (void)find_filter(filter->text);
            if (now().is_operator("("))
                arguments(filter);
            made = filter;
        }
        return made;
    }

    Node *test(Node *of) {
        next();
        const bool negated = skip_name("not");
        Node *made = node(Is::Test);
        made->a = of;
        made->text = dotted_name();
        (void)find_test(made->text);
        const Token &token = now();
        if (token.is_operator("(")) {
            arguments(made);
        } else if ((token.is(Type::Name) && !token.is_name("else") && !token.is_name("or") && !token.is_name("and")) ||
                   token.is(Type::String) || token.is(Type::Integer) || token.is(Type::Float) ||
                   token.is_operator("[") || token.is_operator("{")) {
            if (token.is_name("is"))
                fail_syntax("You cannot chain multiple tests with is", token.line);
            made->parts = kept({postfix(primary())});
        }
        return negated ? pair(Is::Not, {}, made, nullptr) : made;
    }

    Arena &arena_;
    std::vector<Token> tokens_;
    std::size_t at_ = 0;
    std::vector<Open> open_;
};

}  // namespace

Nodes parse(std::string_view source, Arena &arena) {
    Parser parser(source, arena);
    const Nodes nodes = parser.run();
    return nodes;
}

}  // namespace steadytext::core::jinja
