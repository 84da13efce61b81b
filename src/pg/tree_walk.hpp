// Functions of this library as PostgreSQL's walkers of node trees take them. Regime: pg.
//
// PostgreSQL declares what it takes without arguments, or with arguments of its own (compat.hpp); C++ allows the cast only
// through another function type.
#pragma once

#include "src/pg/compat.hpp"

namespace steadytext::pg {

// For expression_tree_walker() and query_tree_walker().
inline tree_walker_type walker(bool (*function)(Node *, void *)) {
    return reinterpret_cast<tree_walker_type>(reinterpret_cast<void (*)()>(function));
}

// For planstate_tree_walker().
inline planstate_walker_type walker(bool (*function)(PlanState *, void *)) {
    return reinterpret_cast<planstate_walker_type>(reinterpret_cast<void (*)()>(function));
}

// For expression_tree_mutator().
inline tree_mutator_type mutator(Node *(*function)(Node *, void *)) {
    return reinterpret_cast<tree_mutator_type>(reinterpret_cast<void (*)()>(function));
}

}  // namespace steadytext::pg
