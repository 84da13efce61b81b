// See expressions.hpp.
#include "src/core/jinja/expressions.hpp"

#include "src/core/jinja/filters.hpp"
#include "src/core/jinja/methods.hpp"

namespace steadytext::core::jinja {

Value Expressions::value_of(const Node *node) {
    const Level level(machine_.bounds);
    machine_.bounds.spend();
    switch (node->is) {
    case Is::Constant:
        return node->constant;
    case Is::Name:
        return look_up(node->text);
    case Is::Attribute:
        return attribute(machine_, value_of(node->a), node->text);
    case Is::Item:
        return item_of(node);
    case Is::Call:
        return call(node, nullptr);
    case Is::Filter:
        return filtered(node, none());
    case Is::Test:
        return test(node);
    case Is::Not:
        return truth(!is_true(machine_, value_of(node->a)));
    case Is::Minus:
        return negative(value_of(node->a), true);
    case Is::Plus:
        return negative(value_of(node->a), false);
    case Is::And: {
        const Value left = value_of(node->a);
        return is_true(machine_, left) ? value_of(node->b) : left;
    }
    case Is::Or: {
        const Value left = value_of(node->a);
        return is_true(machine_, left) ? left : value_of(node->b);
    }
    case Is::Choice:
        return choice(node);
    case Is::Compare:
        return comparison(node);
    case Is::Binary: {
        const Value left = value_of(node->a);
        return binary(machine_, node->text, left, value_of(node->b));
    }
    case Is::Concat:
        return concatenation(node);
    case Is::Tuple:
    case Is::List:
        return list(node);
    case Is::Dict:
        return dict(node);
    default:
        unsupported("this expression");
    }
}

Value Expressions::item_of(const Node *node) {
    const Value of = value_of(node->a);
    if (node->b->is != Is::Slice)
        return item(machine_, of, value_of(node->b));
    const auto bound = [&](const Node *part) { return part != nullptr ? value_of(part) : none(); };
    const Value start = bound(node->b->a), stop = bound(node->b->b);
    return slice(machine_, of, start, stop, bound(node->b->c));
}

Value Expressions::choice(const Node *node) {
    if (is_true(machine_, value_of(node->a)))
        return value_of(node->b);
    if (node->c != nullptr)
        return value_of(node->c);
    Value nothing = undefined("the inline if-expression evaluated to false and no else section was defined.");
    nothing.is_markup = true;
    return nothing;
}

Value Expressions::comparison(const Node *node) {
    Value left = value_of(node->a);
    for (const Node *operand : node->parts) {
        const Value right = value_of(operand->a);
        const std::string_view op = operand->text;
        bool holds;
        if (op == "==" || op == "!=")
            holds = equal(machine_, left, right) == (op == "==");
        else if (op == "in" || op == "not in")
            holds = contains(machine_, right, left) == (op == "in");
        else
            holds = less(machine_, left, right, op);
        if (!holds)
            return truth(false);
        left = right;
    }
    return truth(true);
}

Value Expressions::concatenation(const Node *node) {
    std::string out;
    for (const Node *part : node->parts) {
        append_str(machine_, out, value_of(part));
        if (out.size() > Bounds::kMaxOutput)
            machine_.bounds.take_output(out.size());
    }
    return machine_.kept(out);
}

Value Expressions::list(const Node *node) {
    List *made = new_list(machine_.arena);
    for (const Node *part : node->parts)
        made->add(machine_.arena, value_of(part));
    return jinja::value_of(node->is == Is::List ? Kind::List : Kind::Tuple, made);
}

Value Expressions::dict(const Node *node) {
    Dict *made = new_dict(machine_.arena);
    for (std::size_t i = 0; i < node->parts.size(); i++) {
        const Value key = value_of(node->parts[i]);
        if (!is_hashable(key))
            fail("unhashable type: '" + std::string(type_name(key)) + "'");
        made->set(machine_.arena, key, value_of(node->more[i]));
    }
    return jinja::value_of(made);
}

Expressions::Evaluated Expressions::arguments_of(const Node *node) {
    Evaluated made;
    for (const Node *part : node->parts)
        made.positional.push_back(value_of(part));
    for (const Node *keyword : node->more)
        made.named.push_back({keyword->text, value_of(keyword->a)});
    return made;
}

Value Expressions::filtered(const Node *node, const Value &input) {
    if (node == nullptr)
        return input;
    const Level level(machine_.bounds);
    const Value of = node->a != nullptr && node->a->is == Is::Filter ? filtered(node->a, input)
                     : node->a != nullptr                            ? value_of(node->a)
                                                                     : input;
    return find_filter(node->text)(machine_, of, arguments_of(node).arguments());
}

Value Expressions::test(const Node *node) {
    const Value of = value_of(node->a);
    return truth(find_test(node->text)(machine_, of, arguments_of(node).arguments()));
}

Value Expressions::call(const Node *node, const Value *caller) {
    const Value what = value_of(node->a);
    Evaluated evaluated = arguments_of(node);
    if (caller != nullptr)
        evaluated.named.push_back({"caller", *caller});
    const Arguments arguments = evaluated.arguments();
    switch (what.kind) {
    case Kind::Method:
        return what.method->of.is(Kind::Loop) ? call_local(what, arguments)
                                              : call_method(machine_, *what.method, arguments);
    case Kind::Macro:
    case Kind::Loop:
        return call_local(what, arguments);
    case Kind::Global:
        return call_global(machine_, what.text(), arguments, separators_);
    case Kind::Joiner: {
        (void)Bound("joiner", arguments, {});
        const bool first = !*what.used;
        *what.used = true;
        return first ? string("") : separators_[what.used];
    }
    case Kind::Undefined:
        fail_undefined(what.text());
    default:
        fail("'" + std::string(type_name(what)) + "' object is not callable");
    }
}

}  // namespace steadytext::core::jinja
