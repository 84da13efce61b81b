// The columns that expressions of a plan's node name, each once, by their places in a list.
//
// Made by read_ahead_plan.cpp for a custom scan above the node. Regime: pg. As many columns as there are looks on the ground
// (harmless.hpp) are taken: expressions may name each column of a table thousands of times.
#pragma once

#include "src/planner/harmless.hpp"

extern "C" {
#include "utils/hsearch.h"
}

namespace steadytext::planner {

// Plain data in the memory context that is current when it is made.
class Columns {
public:
    Columns();

    // Takes the columns and window functions of the expressions. False if there are too many.
    [[nodiscard]] bool take(const List *expressions, const Ground &ground);

    // Columns and window functions; the first has place 0.
    [[nodiscard]] const List *all() const { return all_; }

    // Of a column or a window function that was taken; -1 of another.
    [[nodiscard]] int place_of(const Node *column) const;

private:
    [[nodiscard]] int place_of_function(const Node *function) const;
    void put(const Node *column);

    HTAB *places_;           // of columns
    List *functions_ = NIL;  // places of window functions, which are few
    List *all_ = NIL;
};

}  // namespace steadytext::planner
