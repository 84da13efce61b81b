// Nodes of PostgreSQL's trees, and lists of them in a range-for. Used by src/planner, src/pg and src/session. Regime: pg.
#pragma once

#include "src/pg/postgres.hpp"

extern "C" {
#include "nodes/pg_list.h"
}

namespace steadytext::pg {

// A node that is known to be of this type.
template <class Node>
[[nodiscard]] const Node *as(const void *node) {
    return static_cast<const Node *>(node);
}

// The pointers in a list, one after the other; the list may grow meanwhile.
template <class Item>
class each {
public:
    explicit each(const List *list) : list_(list) {}

    struct Iterator {
        const List *list;
        int at;
        Item *operator*() const { return static_cast<Item *>(list_nth(list, at)); }
        Iterator &operator++() { return at++, *this; }
        bool operator!=(const Iterator &) const { return at < list_length(list); }
    };
    [[nodiscard]] Iterator begin() const { return {list_, 0}; }
    [[nodiscard]] Iterator end() const { return {list_, 0}; }

private:
    const List *list_;
};

}  // namespace steadytext::pg
