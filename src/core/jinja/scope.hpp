// Where the evaluator finds the names of a template: a scope for each loop, macro, with, and block of set, filter or call.
//
// Regime: pure (throws, see value.hpp).
#pragma once

#include "src/core/jinja/syntax.hpp"

#include <algorithm>

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

}  // namespace steadytext::core::jinja
