// What expressions of templates give: the base of the evaluator of statements (evaluator.cpp).
//
// Regime: pure (throws, see value.hpp). It recurses, bounded by Bounds::Level.
#pragma once

#include "src/core/jinja/globals.hpp"
#include "src/core/jinja/syntax.hpp"

#include <vector>

namespace steadytext::core::jinja {

class Expressions {
protected:
    using Level = Bounds::Level;

    explicit Expressions(Machine &machine) : machine_(machine) {}
    ~Expressions() = default;

    virtual Value look_up(std::string_view name) = 0;
    // Calls a macro, or a loop or its method.
    virtual Value call_local(const Value &what, const Arguments &arguments) = 0;

    Value value_of(const Node *node);
    // `input` goes to the innermost filter of a block.
    Value filtered(const Node *node, const Value &input);
    Value call(const Node *node, const Value *caller);

    Machine &machine_;

private:
    Value item_of(const Node *node);
    Value choice(const Node *node);
    Value comparison(const Node *node);
    Value concatenation(const Node *node);
    Value list(const Node *node);
    Value dict(const Node *node);
    // The arguments of a call, a filter or a test, with their owners.
    struct Evaluated {
        std::vector<Value> positional;
        std::vector<Named> named;
        [[nodiscard]] Arguments arguments() const { return {positional, named}; }
    };
    Evaluated arguments_of(const Node *node);
    Value test(const Node *node);

    Separators separators_;
};

}  // namespace steadytext::core::jinja
