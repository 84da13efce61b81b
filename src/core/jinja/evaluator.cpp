// See evaluator.hpp. Names are looked up in scopes, from the innermost out, then among the variables, then among
// Jinja2's globals; a loop, a macro, a with and the blocks of set, filter and call have scopes of their own.
#include "src/core/jinja/evaluator.hpp"

#include "src/core/jinja/filters.hpp"
#include "src/core/jinja/methods.hpp"
#include "src/core/jinja/text.hpp"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

namespace steadytext::core::jinja {

struct Scope;

struct Macro {
    const Node *node;
    Scope *scope;  // where it was made
};

struct Scope {
    struct Entry {
        std::string_view name;
        Value value;
    };

    Scope *parent;
    bool is_kept;  // a macro was made inside, so the next turn of a loop takes another
    std::uint32_t count, room;
    Entry *entries;

    Value *find(std::string_view name) {
        for (std::uint32_t i = 0; i < count; i++)
            if (entries[i].name == name)
                return &entries[i].value;
        return nullptr;
    }
    void set(Arena &arena, std::string_view name, const Value &value) {
        if (Value *known = find(name)) {
            *known = value;
            return;
        }
        if (count == room) {
            const std::uint32_t more = room < 4 ? 4 : room * 2;
            auto *grown = arena.array<Entry>(more);
            std::copy_n(entries, count, grown);
            entries = grown;
            room = more;
        }
        entries[count++] = {name, value};
    }
};

namespace {

using Level = Bounds::Level;

class Evaluator {
public:
    Evaluator(Machine &machine, const NameTable &names, const Value &variables)
        : machine_(machine), names_(names), variables_(variables), scope_(new_scope(nullptr, nullptr)) {}

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

    Value look_up(std::string_view name) {
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
        if (space.is_undefined() && !space.is_lax(machine_.strict))
            fail_undefined(space.text());
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

    // The turns of one loop, with a look ahead where the template asks what comes.
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

    // ---- expressions ----

    Value value_of(const Node *node) {
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

    Value item_of(const Node *node) {
        const Value of = value_of(node->a);
        if (node->b->is != Is::Slice)
            return item(machine_, of, value_of(node->b));
        const auto bound = [&](const Node *part) { return part != nullptr ? value_of(part) : none(); };
        const Value start = bound(node->b->a), stop = bound(node->b->b);
        return slice(machine_, of, start, stop, bound(node->b->c));
    }

    Value choice(const Node *node) {
        if (is_true(machine_, value_of(node->a)))
            return value_of(node->b);
        if (node->c != nullptr)
            return value_of(node->c);
        Value nothing = undefined("the inline if-expression evaluated to false and no else section was defined.");
        nothing.is_markup = true;
        return nothing;
    }

    Value comparison(const Node *node) {
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

    Value concatenation(const Node *node) {
        std::string out;
        for (const Node *part : node->parts) {
            append_str(machine_, out, value_of(part));
            if (out.size() > Bounds::kMaxOutput)
                machine_.bounds.take_output(out.size());
        }
        return machine_.kept(out);
    }

    Value list(const Node *node) {
        List *made = new_list(machine_.arena);
        for (const Node *part : node->parts)
            made->add(machine_.arena, value_of(part));
        return jinja::value_of(node->is == Is::List ? Kind::List : Kind::Tuple, made);
    }

    Value dict(const Node *node) {
        Dict *made = new_dict(machine_.arena);
        for (std::size_t i = 0; i < node->parts.size(); i++) {
            const Value key = value_of(node->parts[i]);
            if (!is_hashable(key))
                fail("unhashable type: '" + std::string(type_name(key)) + "'");
            made->set(machine_.arena, key, value_of(node->more[i]));
        }
        return jinja::value_of(made);
    }

    // The arguments of a call, a filter or a test, with what owns them.
    struct Evaluated {
        std::vector<Value> positional;
        std::vector<Named> named;
        [[nodiscard]] Arguments arguments() const { return {positional, named}; }
    };
    Evaluated arguments_of(const Node *node) {
        Evaluated made;
        for (const Node *part : node->parts)
            made.positional.push_back(value_of(part));
        for (const Node *keyword : node->more)
            made.named.push_back({keyword->text, value_of(keyword->a)});
        return made;
    }

    // `input` is what the innermost filter of a block gets.
    Value filtered(const Node *node, const Value &input) {
        if (node == nullptr)
            return input;
        const Level level(machine_.bounds);
        const Value of = node->a != nullptr && node->a->is == Is::Filter ? filtered(node->a, input)
                         : node->a != nullptr                            ? value_of(node->a)
                                                                         : input;
        return find_filter(node->text)(machine_, of, arguments_of(node).arguments());
    }

    Value test(const Node *node) {
        const Value of = value_of(node->a);
        return truth(find_test(node->text)(machine_, of, arguments_of(node).arguments()));
    }

    Value call(const Node *node, const Value *caller) {
        const Value what = value_of(node->a);
        Evaluated evaluated = arguments_of(node);
        if (caller != nullptr)
            evaluated.named.push_back({"caller", *caller});
        const Arguments arguments = evaluated.arguments();
        switch (what.kind) {
        case Kind::Macro:
            return call_macro(*what.macro, arguments);
        case Kind::Method:
            return what.method->of.is(Kind::Loop) ? call_loop_method(*what.method, arguments)
                                                  : call_method(machine_, *what.method, arguments);
        case Kind::Loop:
            return call_loop(what, arguments);
        case Kind::Global:
            return call_global(what.text(), arguments);
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

    Value call_global(std::string_view name, const Arguments &arguments) {
        if (name == "range")
            return range(arguments);
        if (name == "joiner") {
            const Value between = Bound("joiner", arguments, {"sep"}).or_else(0, string(", "));
            Value made;
            made.kind = Kind::Joiner;
            made.used = machine_.arena.make<bool>(false);
            separators_[made.used] = between;
            return made;
        }
        if (name == "cycler") {
            if (!arguments.named.empty() || arguments.positional.empty())
                fail("at least one item has to be provided");
            Value made;
            made.kind = Kind::Cycler;
            made.cycler = machine_.arena.make<Cycler>(new_list(machine_.arena), 0U);
            for (const Value &value : arguments.positional)
                made.cycler->items->add(machine_.arena, value);
            return made;
        }
        if (name == "lipsum")
            unsupported("lipsum");
        // dict and namespace
        Dict *dict = new_dict(machine_.arena);
        dict->is_namespace = name == "namespace";
        if (arguments.positional.size() > 1)
            fail(std::string(name) + " expected at most 1 argument");
        if (!arguments.positional.empty())
            fill(*dict, arguments.positional[0]);
        for (const Named &named : arguments.named)
            dict->set(machine_.arena, string(named.name), named.value);
        return jinja::value_of(dict);
    }

    void fill(Dict &dict, const Value &from) {
        if (from.is(Kind::Dict)) {
            for (std::uint32_t i = 0; i < from.dict->count; i++)
                dict.set(machine_.arena, from.dict->keys[i], from.dict->values[i]);
            return;
        }
        Iterator iterator(machine_, from);
        for (Value pair; iterator.next(pair);) {
            if (!pair.is_list_like() || pair.is(Kind::Generator))
                unsupported("dict() of anything but pairs");
            if (pair.list->count != 2)
                fail("dictionary update sequence element has a length other than 2");
            if (!is_hashable(pair.list->items[0]))
                fail("unhashable type: '" + std::string(type_name(pair.list->items[0])) + "'");
            dict.set(machine_.arena, pair.list->items[0], pair.list->items[1]);
        }
    }

    Value range(const Arguments &arguments) {
        if (!arguments.named.empty())
            fail("range() takes no keyword arguments");
        const std::size_t count = arguments.positional.size();
        if (count == 0 || count > 3)
            fail(count == 0 ? "range expected at least 1 argument, got 0"
                            : "range expected at most 3 arguments, got " + std::to_string(count));
        std::int64_t given[3];
        for (std::size_t i = 0; i < count; i++)
            given[i] = need_whole(arguments.positional[i]);
        Value made;
        made.kind = Kind::Range;
        made.range = machine_.arena.make<Range>(count == 1 ? 0 : given[0], count == 1 ? given[0] : given[1],
                                                count == 3 ? given[2] : std::int64_t{1});
        if (made.range->step == 0)
            fail("range() arg 3 must not be zero");
        if (made.range->count() > static_cast<std::uint64_t>(INT64_MAX))
            unsupported("such a range");
        return made;
    }

    Machine &machine_;
    const NameTable &names_;
    Value variables_;
    std::map<std::string_view, Value> undefined_;
    Scope *scope_;
    std::string out_;
    std::map<const bool *, Value> separators_;
};

}  // namespace

std::string evaluate(Nodes nodes, const NameTable &names, Machine &machine, const Value &variables) {
    return Evaluator(machine, names, variables).run(nodes);
}

}  // namespace steadytext::core::jinja
