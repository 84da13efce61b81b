// A template as a tree of statements and expressions, in the arena.
//
// Made by the parser, walked by the evaluator and by names.cpp. Regime: pure.
#pragma once

#include "src/core/jinja/value.hpp"

#include <span>

namespace steadytext::core::jinja {

enum class Is : std::uint8_t {
    // statements: `body` is the inside
    Data,         // text
    Output,       // parts
    For,          // a: target, b: the walked value, c: test; body; parts: else
    If,           // a: test; body; parts: the elif, each an If; more: else
    Set,          // a: target, b: value
    SetBlock,     // a: target, b: filters; body
    Macro,        // text: name; parts: parameters, more: their defaults; body
    CallBlock,    // a: the call; parts: parameters, more: their defaults; body
    FilterBlock,  // b: filters; body
    With,         // parts: targets, more: values; body
    // expressions
    Constant,
    Name,       // text
    Attribute,  // a, text
    Item,       // a, b
    Slice,      // a, b, c: each may be absent
    Call,       // a; parts: arguments, more: Keyword
    Keyword,    // text, a
    Filter,     // a (absent at the head of a block's filters), text; parts, more: as Call
    Test,       // a, text; parts, more: as Call
    Tuple,      // parts
    List,       // parts
    Dict,       // parts: keys, more: values
    Not,        // a
    Minus,
    Plus,
    And,  // a, b
    Or,
    Compare,  // a; parts: Operand
    Operand,  // text: operator, a
    Binary,   // text: operator, a, b
    Concat,   // parts
    Choice,   // a: test, b, c: may be absent
    Member,   // text: the namespace, constant: the name: the target of {% set ns.x %}
};

struct Node;
using Nodes = std::span<Node *const>;

struct Node {
    Is is;
    bool flag;  // of a For: recursive; of a Name: it is set, not read; of a Macro or CallBlock: its body says "caller"
    bool takes_args, takes_kwargs;  // of a Macro or CallBlock: its body says "varargs", "kwargs"
    int line;
    std::string_view text;
    Value constant;
    Node *a, *b, *c;
    Nodes parts, more, body;
};

[[nodiscard]] Nodes parse(std::string_view source, Arena &arena);

}  // namespace steadytext::core::jinja
