// See names.hpp. A copy of Jinja2's symbol tables (idtracking.py), with its oddities: a name that only some branches of
// an if set counts as undeclared, and an if always has three branches.
#include "src/core/jinja/names.hpp"

#include <algorithm>
#include <string_view>

namespace steadytext::core::jinja {

namespace {

constexpr std::string_view kGlobals[] = {"range", "dict", "lipsum", "cycler", "joiner", "namespace"};

// What a scope knows of names. Parents are looked at, not changed.
struct Symbols {
    enum class Load : std::uint8_t { Parameter, Alias, Unset, Resolve };

    const Symbols *parent = nullptr;
    std::map<std::string_view, Load> loads = {};  // a name that is here is known
    std::set<std::string_view> stores = {};

    [[nodiscard]] bool knows(std::string_view name) const {
        for (const Symbols *scope = this; scope != nullptr; scope = scope->parent)
            if (scope->loads.contains(name))
                return true;
        return false;
    }
    void load(std::string_view name) {
        if (!knows(name))
            loads[name] = Load::Resolve;
    }
    void store(std::string_view name) {
        stores.insert(name);
        loads.try_emplace(name, parent != nullptr && parent->knows(name) ? Load::Alias : Load::Unset);
    }
    void declare(std::string_view name) {
        stores.insert(name);
        loads[name] = Load::Parameter;
    }
};

class Names {
public:
    explicit Names(Bounds &bounds) : bounds_(bounds) {}

    NameTable found;

    void walk_template(Nodes nodes) {
        Symbols symbols;
        analyze(symbols, nodes);
        enter(symbols, {nullptr, Part::Body});
        inner(symbols, nodes);
    }

private:
    using Level = Bounds::Level;

    // ---- the symbols of a scope: statements that open scopes of their own are looked at from outside only ----

    void analyze(Symbols &symbols, Nodes nodes) {
        for (const Node *node : nodes)
            analyze(symbols, node);
    }

    void analyze(Symbols &symbols, const Node *node) {
        if (node == nullptr)
            return;
        const Level level(bounds_);
        bounds_.spend(1 + symbols.loads.size() / 16);
        switch (node->is) {
        case Is::Name:
            node->flag ? symbols.store(node->text) : symbols.load(node->text);
            return;
        case Is::Member:
            return symbols.load(node->text);
        case Is::For:
            return analyze(symbols, node->b);
        case Is::CallBlock:
            return analyze(symbols, node->a);
        case Is::FilterBlock:
            return analyze(symbols, node->b);
        case Is::With:
            return analyze(symbols, node->more);
        case Is::SetBlock:
            return analyze(symbols, node->a);
        case Is::Macro:
            return symbols.store(node->text);
        case Is::If:
            return branches(symbols, node);
        case Is::Set:
            analyze(symbols, node->b);
            return analyze(symbols, node->a);
        default:
            analyze(symbols, node->a);
            analyze(symbols, node->b);
            analyze(symbols, node->c);
            analyze(symbols, node->parts);
            analyze(symbols, node->more);
            return analyze(symbols, node->body);
        }
    }

    void branches(Symbols &symbols, const Node *node) {
        analyze(symbols, node->a);
        Symbols each[3] = {symbols, symbols, symbols};
        analyze(each[0], node->body);
        analyze(each[1], node->parts);
        analyze(each[2], node->more);
        std::map<std::string_view, int> stored;
        for (const Symbols &branch : each) {
            bounds_.spend(branch.stores.size() + branch.loads.size());
            for (const std::string_view name : branch.stores)
                if (!symbols.stores.contains(name))
                    stored[name]++;
        }
        for (const Symbols &branch : each) {
            for (const auto &[name, load] : branch.loads)
                symbols.loads[name] = load;
            symbols.stores.insert(branch.stores.begin(), branch.stores.end());
        }
        for (const auto &[name, count] : stored) {
            if (count == 3)
                continue;
            symbols.loads[name] = symbols.parent != nullptr && symbols.parent->knows(name) ? Symbols::Load::Alias
                                                                                           : Symbols::Load::Resolve;
        }
    }

    void enter(const Symbols &symbols, const ScopeKey &key) {
        for (const auto &[name, load] : symbols.loads)
            if (load == Symbols::Load::Resolve && std::ranges::find(kGlobals, name) == std::end(kGlobals))
                found.undeclared.emplace(name);
            else if (load == Symbols::Load::Unset)
                found.unset[key].push_back(name);
    }

    // ---- the scopes inside ----

    void inner(const Symbols &symbols, Nodes nodes) {
        for (const Node *node : nodes)
            inner(symbols, node);
    }

    void inner(const Symbols &symbols, const Node *node) {
        const Level level(bounds_);
        bounds_.spend();
        Symbols own{.parent = &symbols};
        switch (node->is) {
        case Is::For: {
            Symbols otherwise{.parent = &symbols};
            analyze(otherwise, node->parts);
            own.declare("loop");
            declare(own, node->a);
            analyze(own, node->body);
            if (node->c != nullptr) {
                Symbols test{.parent = &symbols};
                declare(test, node->a);
                analyze(test, node->c);
                enter(test, {node, Part::Test});
            }
            enter(own, {node, Part::Body});
            inner(own, node->body);
            enter(otherwise, {node, Part::Else});
            return inner(otherwise, node->parts);
        }
        case Is::If:
            inner(symbols, node->body);
            inner(symbols, node->parts);
            return inner(symbols, node->more);
        case Is::Macro:
        case Is::CallBlock:
            if (node->flag)
                own.declare("caller");
            if (node->takes_args)
                own.declare("varargs");
            if (node->takes_kwargs)
                own.declare("kwargs");
            for (const Node *parameter : node->parts)
                own.declare(parameter->text);
            analyze(own, node->more);
            break;
        case Is::With:
            for (const Node *target : node->parts)
                declare(own, target);
            break;
        case Is::FilterBlock:
        case Is::SetBlock:
            break;
        default:
            return;
        }
        analyze(own, node->body);
        enter(own, {node, Part::Body});
        inner(own, node->body);
    }

    void declare(Symbols &symbols, const Node *target) {
        const Level level(bounds_);
        if (target->is == Is::Name)
            symbols.declare(target->text);
        for (const Node *part : target->parts)
            declare(symbols, part);
    }

    Bounds &bounds_;
};

}  // namespace

NameTable names_of(Nodes nodes, Bounds &bounds) {
    Names names(bounds);
    names.walk_template(nodes);
    return std::move(names.found);
}

}  // namespace steadytext::core::jinja
