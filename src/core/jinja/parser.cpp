// The parser of statements: see syntax.hpp. It goes through the grammar as Jinja2's does, and fails with its words.
//
// Called by src/core/jinja/jinja.cpp. Regime: pure (throws, see value.hpp).
#include "src/core/jinja/expression_parser.hpp"

namespace steadytext::core::jinja {

namespace {

class Parser : ExpressionParser {
public:
    Parser(std::string_view source, Arena &arena) : ExpressionParser(source, arena) {}

    Nodes run() { return statements_until({}); }

private:
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

    // The inside of a tag's block, up to the first of its ends; the token at hand names that end.
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

    // The words by which a macro's body gets arguments that its parameters do not name.
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
        separated(")", false, [&] {
            Node *parameter = node(Is::Name);
            parameter->text = name_to_set();
            parameter->flag = true;
            parameters.push_back(parameter);
            if (skip_operator("="))
                defaults.push_back(expression());
            else if (!defaults.empty())
                fail_syntax("non-default argument follows default argument", now().line);
        });
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

    std::vector<Open> open_;
};

}  // namespace

Nodes parse(std::string_view source, Arena &arena) { return Parser(source, arena).run(); }

}  // namespace steadytext::core::jinja
