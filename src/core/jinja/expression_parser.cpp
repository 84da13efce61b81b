// See expression_parser.hpp. The functions follow Jinja2's grammar, from the loosest operator to the tightest.
#include "src/core/jinja/expression_parser.hpp"

#include "src/core/jinja/filters.hpp"

#include <charconv>

namespace steadytext::core::jinja {

Node *ExpressionParser::expression() {
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

Node *ExpressionParser::either() {
    Node *left = both();
    while (skip_name("or"))
        left = pair(Is::Or, {}, left, both());
    return left;
}

Node *ExpressionParser::both() {
    Node *left = negation();
    while (skip_name("and"))
        left = pair(Is::And, {}, left, negation());
    return left;
}

Node *ExpressionParser::negation() {
    if (!now().is_name("not"))
        return comparison();
    const Level level(arena_.bounds());
    next();
    return pair(Is::Not, {}, negation(), nullptr);
}

Node *ExpressionParser::comparison() {
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

Node *ExpressionParser::sum() {
    return chain({"+", "-"}, [this] { return concatenation(); });
}

Node *ExpressionParser::concatenation() {
    std::vector<Node *> parts = {product()};
    while (skip_operator("~"))
        parts.push_back(product());
    if (parts.size() == 1)
        return parts[0];
    Node *made = node(Is::Concat);
    made->parts = kept(parts);
    return made;
}

Node *ExpressionParser::product() {
    return chain({"*", "/", "//", "%"}, [this] { return chain({"**"}, [this] { return unary(true); }); });
}

Node *ExpressionParser::unary(bool with_filter) {
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

Node *ExpressionParser::primary() {
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
std::string ExpressionParser::unescaped(const Token &token) {
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

Node *ExpressionParser::tuple(bool with_choice, Words ends, bool simple, bool in_parentheses) {
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

Node *ExpressionParser::list() {
    std::vector<Node *> parts;
    expect_operator("[");
    separated("]", true, [&] { parts.push_back(expression()); });
    Node *made = node(Is::List);
    made->parts = kept(parts);
    return made;
}

Node *ExpressionParser::dict() {
    std::vector<Node *> keys, values;
    expect_operator("{");
    separated("}", true, [&] {
        keys.push_back(expression());
        expect_operator(":");
        values.push_back(expression());
    });
    Node *made = node(Is::Dict);
    made->parts = kept(keys);
    made->more = kept(values);
    return made;
}

// Chains nest to the left without recursion here, but the evaluation recurses: so their length is bounded.
Node *ExpressionParser::postfix(Node *made) {
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

Node *ExpressionParser::filtered(Node *made) {
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

void ExpressionParser::bound_chain(int length) {
    if (length > Bounds::kMaxDepth)
        throw Failure{Failure::Kind::TooLarge, "the template nests or calls itself too deep"};
}

Node *ExpressionParser::subscript(Node *of) {
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
    separated("]", false, [&] { parts.push_back(slice()); });
    if (parts.empty())
        unsupported("an empty subscript");
    if (parts.size() > 1)
        unsupported("a subscript of several values");
    return pair(Is::Item, {}, of, parts[0]);
}

Node *ExpressionParser::slice() {
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

void ExpressionParser::arguments(Node *made) {
    std::vector<Node *> parts, keywords;
    expect_operator("(");
    separated(")", true, [&] {
        if (now().is_operator("*") || now().is_operator("**"))
            unsupported("* or ** before an argument");
        if (!now().is(Type::Name) || !ahead().is_operator("=")) {
            if (!keywords.empty())
                fail_syntax("invalid syntax for function call expression", now().line);
            return parts.push_back(expression());
        }
        const std::string_view name = next().text;
        next();
        for (const Node *keyword : keywords)
            if (keyword->text == name)
                fail_syntax("keyword argument repeated: " + std::string(name), now().line);
        keywords.push_back(pair(Is::Keyword, name, expression(), nullptr));
    });
    made->parts = kept(parts);
    made->more = kept(keywords);
}

Node *ExpressionParser::call(Node *what) {
    Node *made = pair(Is::Call, {}, what, nullptr);
    arguments(made);
    return made;
}

std::string_view ExpressionParser::dotted_name() {
    const std::string_view name = expect_name();
    if (now().is_operator("."))
        fail_syntax("No filter or test named " + repr(std::string(name) + "." + std::string(ahead().text)) + ".",
                    now().line);
    return name;
}

Node *ExpressionParser::filters(Node *made, bool begun) {
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

Node *ExpressionParser::test(Node *of) {
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
               token.is(Type::String) || token.is(Type::Integer) || token.is(Type::Float) || token.is_operator("[") ||
               token.is_operator("{")) {
        if (token.is_name("is"))
            fail_syntax("You cannot chain multiple tests with is", token.line);
        made->parts = kept({postfix(primary())});
    }
    return negated ? pair(Is::Not, {}, made, nullptr) : made;
}

}  // namespace steadytext::core::jinja
