// See evaluator.hpp. Names are looked up in scopes, from the innermost out, then among the variables, then among
// Jinja2's globals; a loop, a macro, a with and the blocks of set, filter and call have scopes of their own.
#include "src/core/jinja/evaluator.hpp"

#include "src/core/jinja/expressions.hpp"
#include "src/core/jinja/scope.hpp"
#include "src/core/jinja/text.hpp"

#include <map>
#include <utility>
#include <vector>

namespace steadytext::core::jinja {

namespace {

class Evaluator final : Expressions {
public:
    Evaluator(Machine &machine, const NameTable &names, const Value &variables)
        : Expressions(machine), names_(names), variables_(variables), scope_(new_scope(nullptr, nullptr)) {}

    std::string run(Nodes nodes) {
        execute(nodes);
        return std::move(out_);
    }

private:
    // ---- scopes and output ----

    Scope *new_scope(Scope *parent, const Node *node, Part part = Part::Body) {
        auto *made = machine_.arena.make<Scope>();
        made->parent = parent;
        begin(made, node, part);
        return made;
    }
    // As the scope is before its first statement.
    void begin(Scope *scope, const Node *node, Part part) {
        scope->count = 0;
        if (const auto unset = names_.unset.find({node, part}); unset != names_.unset.end())
            for (const std::string_view name : unset->second)
                scope->set(machine_.arena, name, undefined_named(name));
    }

    // Another scope for as long as it lives.
    class Within {
    public:
        Within(Evaluator &evaluator, Scope *scope)
            : evaluator_(evaluator), outer_(std::exchange(evaluator.scope_, scope)) {}
        ~Within() { evaluator_.scope_ = outer_; }
        Within(const Within &) = delete;
        Within &operator=(const Within &) = delete;

    private:
        Evaluator &evaluator_;
        Scope *outer_;
    };

    void write(std::string_view text) {
        machine_.bounds.take_output(text.size());
        out_ += text;
    }
    void write(const Value &value) {
        if (value.is(Kind::String))
            return write(value.text());
        const std::size_t before = out_.size();
        append_str(machine_, out_, value);
        machine_.bounds.take_output(out_.size() - before);
    }

    // What the body writes, as a value.
    template <class Body>
    Value captured(Body body) {
        std::string outer = std::move(out_);
        out_.clear();
        body();
        std::swap(outer, out_);
        machine_.bounds.give_back_output(outer.size());
        return machine_.kept(outer);
    }

    // ---- names ----

    Value look_up(std::string_view name) override {
        for (Scope *scope = scope_; scope != nullptr; scope = scope->parent) {
            machine_.bounds.spend(1 + scope->count / 4);
            if (const Value *found = scope->find(name))
                return *found;
        }
        if (const Value *found = variables_.dict->find(machine_.bounds, string(name)))
            return *found;
        for (const std::string_view global : {"range", "dict", "namespace", "joiner", "cycler", "lipsum"})
            if (name == global) {
                Value made = string(global);
                made.kind = Kind::Global;
                return made;
            }
        return undefined_named(name);
    }

    Value undefined_named(std::string_view name) {
        const auto [place, is_new] = undefined_.try_emplace(name);
        if (is_new)
            place->second = undefined(machine_.arena.copy(repr(name) + " is undefined"));
        return place->second;
    }

    void assign(const Node *target, const Value &value) {
        if (target->is == Is::Name)
            return scope_->set(machine_.arena, target->text, value);
        const Level level(machine_.bounds);
        if (!value.is_list_like() && !value.is(Kind::String) && !value.is(Kind::Dict) && !value.is(Kind::View) &&
            !value.is(Kind::Range) && !value.is_undefined())
            fail("cannot unpack non-iterable " + std::string(type_name(value)) + " object");
        const std::size_t count = target->parts.size();
        std::vector<Value> values;
        Iterator iterator(machine_, value);
        for (Value each; values.size() <= count && iterator.next(each);)
            values.push_back(each);
        if (values.size() > count)
            fail("too many values to unpack (expected " + std::to_string(count) + ")");
        if (values.size() < count)
            fail("not enough values to unpack (expected " + std::to_string(count) + ", got " +
                 std::to_string(values.size()) + ")");
        for (std::size_t i = 0; i < count; i++)
            assign(target->parts[i], values[i]);
    }

    // ---- statements ----

    void execute(Nodes nodes) {
        const Level level(machine_.bounds);
        for (const Node *node : nodes)
            execute(node);
    }

    void execute(const Node *node) {
        machine_.bounds.spend();
        switch (node->is) {
        case Is::Data:
            return write(node->text);
        case Is::Output:
            for (const Node *part : node->parts)
                write(value_of(part));
            return;
        case Is::For:
            return loop(node, value_of(node->b), 0);
        case Is::If:
            return choose(node);
        case Is::Set:
            return set(node);
        case Is::SetBlock: {
            const Value text = captured([&] { execute_within(new_scope(scope_, node), node->body); });
            return assign(node->a, filtered(node->b, text));
        }
        case Is::Macro: {
            Value macro;
            macro.kind = Kind::Macro;
            macro.macro = closure(node);
            return scope_->set(machine_.arena, node->text, macro);
        }
        case Is::CallBlock:
            return call_block(node);
        case Is::FilterBlock:
            return write(filtered(node->b, captured([&] { execute_within(new_scope(scope_, node), node->body); })));
        case Is::With:
            return with(node);
        default:
            unsupported("this statement");
        }
    }

    void execute_within(Scope *scope, Nodes body) {
        const Within within(*this, scope);
        execute(body);
    }

    void choose(const Node *node) {
        if (is_true(machine_, value_of(node->a)))
            return execute(node->body);
        for (const Node *other : node->parts)
            if (is_true(machine_, value_of(other->a)))
                return execute(other->body);
        execute(node->more);
    }

    void set(const Node *node) {
        const Value value = value_of(node->b);
        if (node->a->is != Is::Member)
            return assign(node->a, value);
        const Value space = look_up(node->a->text);
        machine_.need_defined(space);
        if (!space.is(Kind::Namespace))
            fail("cannot assign attribute on non-namespace object");
        space.dict->set(machine_.arena, node->a->constant, value);
    }

    void with(const Node *node) {
        Scope *inner = new_scope(scope_, node);
        for (std::size_t i = 0; i < node->parts.size(); i++) {
            const Value value = value_of(node->more[i]);
            const Within within(*this, inner);
            assign(node->parts[i], value);
        }
        execute_within(inner, node->body);
    }

    // ---- loops ----

    // The turns of a loop, with a look ahead where the template asks for the next item.
    struct Walk {
        Evaluator &evaluator;
        const Node *node;
        Scope *outer;
        Value of;
        Iterator iterator;
        int depth;
        std::vector<Value> ahead = {};
        std::size_t ahead_at = 0;
        Value now = {}, previous = {};
        std::int64_t index = -1;
        Scope *test_scope = nullptr;
        Value changed = {};
        bool has_changed = false;

        bool pull(Value &value) {
            while (iterator.next(value)) {
                if (node->c == nullptr)
                    return true;
                if (test_scope == nullptr || test_scope->is_kept)
                    test_scope = evaluator.new_scope(outer, node, Part::Test);
                evaluator.begin(test_scope, node, Part::Test);
                const Within within(evaluator, test_scope);
                evaluator.assign(node->a, value);
                if (is_true(evaluator.machine_, evaluator.value_of(node->c)))
                    return true;
            }
            return false;
        }
        bool peek(Value &value) {
            if (ahead_at == ahead.size()) {
                ahead.clear();
                ahead_at = 0;
                if (!pull(value))
                    return false;
                ahead.push_back(value);
            }
            value = ahead[ahead_at];
            return true;
        }
        bool advance() {
            Value value;
            if (!peek_or_pull(value))
                return false;
            previous = now;
            now = value;
            index++;
            return true;
        }
        bool peek_or_pull(Value &value) {
            if (ahead_at == ahead.size())
                return pull(value);
            value = ahead[ahead_at++];
            return true;
        }
        std::int64_t length() {
            if (node->c == nullptr && !of.is(Kind::Generator))
                return static_cast<std::int64_t>(size_of(evaluator.machine_, of));
            for (Value value; pull(value);) {
                evaluator.machine_.bounds.take_memory(sizeof value);
                ahead.push_back(value);
            }
            return index + 1 + static_cast<std::int64_t>(ahead.size() - ahead_at);
        }
    };

    static Value loop_attribute(void *walk, Value loop, std::string_view name) {
        Walk &of = *static_cast<Walk *>(walk);
        Machine &machine = of.evaluator.machine_;
        Value next;
        if (name == "index")
            return whole(of.index + 1);
        if (name == "index0")
            return whole(of.index);
        if (name == "first")
            return truth(of.index == 0);
        if (name == "last")
            return truth(!of.peek(next));
        if (name == "length")
            return whole(of.length());
        if (name == "revindex")
            return whole(of.length() - of.index);
        if (name == "revindex0")
            return whole(of.length() - of.index - 1);
        if (name == "depth")
            return whole(of.depth + 1);
        if (name == "depth0")
            return whole(of.depth);
        if (name == "previtem")
            return of.index > 0 ? of.previous : undefined("there is no previous item");
        if (name == "nextitem")
            return of.peek(next) ? next : undefined("there is no next item");
        if (name == "cycle" || name == "changed")
            return method_of(machine.arena, loop, name);
        if (name.starts_with('_'))
            unsupported("the attribute " + std::string(name) + " of loop");
        return undefined(machine.arena.copy("'jinja2.runtime.LoopContext object' has no attribute " + repr(name)));
    }

    void loop(const Node *node, const Value &of, int depth) {
        const Level level(machine_.bounds);
        Scope *outer = scope_;
        Walk walk{*this, node, outer, of, Iterator(machine_, of), depth};
        auto *loop = machine_.arena.make<Loop>(&walk, loop_attribute);
        // The walk ends with this call, whatever still has `loop`.
        struct End {
            Loop *loop;
            ~End() { loop->walk = nullptr; }
        } const end{loop};
        Value loop_value;
        loop_value.kind = Kind::Loop;
        loop_value.loop = loop;
        Scope *turn = nullptr;
        while (walk.advance()) {
            machine_.bounds.spend();
            if (turn == nullptr || turn->is_kept)
                turn = new_scope(outer, node);
            begin(turn, node, Part::Body);
            const Within within(*this, turn);
            scope_->set(machine_.arena, "loop", loop_value);
            assign(node->a, walk.now);
            execute(node->body);
        }
        if (walk.index < 0)
            execute_within(new_scope(outer, node, Part::Else), node->parts);
    }

    Value call_loop_method(const Method &method, const Arguments &arguments) {
        if (method.of.loop->walk == nullptr)
            unsupported("loop behind its end");
        Walk &walk = *static_cast<Walk *>(method.of.loop->walk);
        if (!arguments.named.empty())
            fail(std::string(method.name) + "() got an unexpected keyword argument");
        if (method.name == "cycle") {
            if (arguments.positional.empty())
                fail("no items for cycling given");
            return arguments.positional[static_cast<std::size_t>(walk.index) % arguments.positional.size()];
        }
        List *list = new_list(machine_.arena);
        for (const Value &value : arguments.positional)
            list->add(machine_.arena, value);
        const Value now = jinja::value_of(Kind::Tuple, list);
        if (walk.has_changed && equal(machine_, walk.changed, now))
            return truth(false);
        walk.changed = now;
        walk.has_changed = true;
        return truth(true);
    }

    // loop(...) in a recursive loop
    Value call_loop(const Value &loop_value, const Arguments &arguments) {
        if (loop_value.loop->walk == nullptr)
            unsupported("loop behind its end");
        const Walk &walk = *static_cast<Walk *>(loop_value.loop->walk);
        if (!walk.node->flag)
            fail("The loop must have the 'recursive' marker to be called recursively.");
        const Value of = Bound("loop", arguments, {"iterable"}, 1)[0];
        return captured([&] {
            const Within within(*this, walk.outer);
            loop(walk.node, of, walk.depth + 1);
        });
    }

    Value call_local(const Value &what, const Arguments &arguments) override {
        return what.is(Kind::Macro)    ? call_macro(*what.macro, arguments)
               : what.is(Kind::Method) ? call_loop_method(*what.method, arguments)
                                       : call_loop(what, arguments);
    }

    // ---- macros ----

    Macro *closure(const Node *node) {
        for (Scope *scope = scope_; scope != nullptr && !scope->is_kept; scope = scope->parent)
            scope->is_kept = true;
        return machine_.arena.make<Macro>(node, scope_);
    }

    Value call_macro(const Macro &macro, const Arguments &arguments) {
        const Level level(machine_.bounds);
        const Node &node = *macro.node;
        const std::string name = node.is == Is::Macro ? repr(node.text) : "None";
        Scope *inner = new_scope(macro.scope, &node);
        std::vector<bool> used(arguments.named.size());
        const auto take = [&](std::string_view wanted, Value &value) {
            for (std::size_t i = 0; i < used.size(); i++)
                if (!used[i] && arguments.named[i].name == wanted) {
                    value = arguments.named[i].value;
                    used[i] = true;
                    return true;
                }
            return false;
        };
        const std::size_t count = node.parts.size();
        std::vector<Value> values(count);
        std::vector<bool> given(count);
        for (std::size_t i = 0; i < count; i++) {
            given[i] = i < arguments.positional.size();
            if (given[i])
                values[i] = arguments.positional[i];
            else
                given[i] = take(node.parts[i]->text, values[i]);
        }
        Value caller;
        if (node.flag && !take("caller", caller))
            caller = undefined("No caller defined");
        List *more = new_list(machine_.arena);
        for (std::size_t i = count; i < arguments.positional.size(); i++)
            more->add(machine_.arena, arguments.positional[i]);
        if (more->count > 0 && !node.takes_args)
            fail("macro " + name + " takes not more than " + std::to_string(count) + " argument(s)");
        Dict *others = new_dict(machine_.arena);
        for (std::size_t i = 0; i < used.size(); i++) {
            if (used[i])
                continue;
            if (!node.takes_kwargs)
                fail(
                    arguments.named[i].name == "caller"
                        ? "macro " + name +
                              " was invoked with two values for the special caller argument. This is most likely a bug."
                        : "macro " + name + " takes no keyword argument " + repr(arguments.named[i].name));
            others->set(machine_.arena, string(arguments.named[i].name), arguments.named[i].value);
        }
        return captured([&] {
            const Within within(*this, inner);
            if (node.flag)
                scope_->set(machine_.arena, "caller", caller);
            if (node.takes_kwargs)
                scope_->set(machine_.arena, "kwargs", jinja::value_of(others));
            if (node.takes_args)
                scope_->set(machine_.arena, "varargs", jinja::value_of(Kind::Tuple, more));
            const std::size_t without_default = count - node.more.size();
            for (std::size_t i = 0; i < count; i++) {
                if (!given[i])
                    values[i] = i >= without_default
                                    ? value_of(node.more[i - without_default])
                                    : undefined(machine_.arena.copy("parameter " + repr(node.parts[i]->text) +
                                                                    " was not provided"));
                scope_->set(machine_.arena, node.parts[i]->text, values[i]);
            }
            execute(node.body);
        });
    }

    void call_block(const Node *node) {
        Value caller;
        caller.kind = Kind::Macro;
        caller.macro = closure(node);
        write(call(node->a, &caller));
    }

    const NameTable &names_;
    Value variables_;
    std::map<std::string_view, Value> undefined_;
    Scope *scope_;
    std::string out_;
};

}  // namespace

std::string evaluate(Nodes nodes, const NameTable &names, Machine &machine, const Value &variables) {
    return Evaluator(machine, names, variables).run(nodes);
}

}  // namespace steadytext::core::jinja
