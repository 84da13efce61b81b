// The expressions of templates, read as Jinja2 reads them: the base of the parser of statements (parser.cpp).
//
// Regime: pure (throws, see value.hpp). Recursive descent, bounded by Bounds::Level.
#pragma once

#include "src/core/jinja/lexer.hpp"
#include "src/core/jinja/syntax.hpp"
#include "src/core/jinja/text.hpp"

#include <algorithm>
#include <initializer_list>

namespace steadytext::core::jinja {

class ExpressionParser {
protected:
    using Type = Token::Type;
    using Level = Bounds::Level;
    using Words = std::initializer_list<std::string_view>;

    ExpressionParser(std::string_view source, Arena &arena)
        : arena_(arena), tokens_(tokens_of(source, arena.bounds())) {}

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
    // Reads items with commas between them, and the operator behind them. A comma may stand before it if `is_loose`.
    template <class Item>
    void separated(std::string_view end, bool is_loose, Item item) {
        for (bool is_first = true; !now().is_operator(end); is_first = false) {
            if (!is_first)
                expect_operator(",");
            if (!is_first && is_loose && now().is_operator(end))
                break;
            item();
        }
        expect_operator(end);
    }

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

    // ---- expressions ----

    Node *expression();
    Node *primary();
    Node *tuple(bool with_choice, Words ends, bool simple = false, bool in_parentheses = false);
    Node *filters(Node *made, bool begun);

    Arena &arena_;
    std::vector<Token> tokens_;
    std::size_t at_ = 0;

private:
    Node *either();
    Node *both();
    Node *negation();
    Node *comparison();
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
    Node *sum();
    Node *concatenation();
    Node *product();
    Node *unary(bool with_filter);
    std::string unescaped(const Token &token);
    Node *list();
    Node *dict();
    Node *postfix(Node *made);
    Node *filtered(Node *made);
    static void bound_chain(int length);
    Node *subscript(Node *of);
    Node *slice();
    void arguments(Node *made);
    Node *call(Node *what);
    std::string_view dotted_name();
    Node *test(Node *of);
};

}  // namespace steadytext::core::jinja
