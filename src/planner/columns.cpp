// Places of columns by a hash of their numbers: see columns.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/planner/columns.hpp"
#include "src/pg/nodes.hpp"

extern "C" {
#include "optimizer/optimizer.h"
}

namespace steadytext::planner {

namespace {

struct Place {
    int column[2];  // varno and varattno; the key
    int place;
};

constexpr int kMaxFunctions = 100;  // distinct window functions, which are compared with each other

}  // namespace

Columns::Columns() {
    HASHCTL control{};
    control.keysize = sizeof Place::column;
    control.entrysize = sizeof(Place);
    control.hcxt = CurrentMemoryContext;
    places_ = hash_create("steadytext columns", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

bool Columns::take(const List *expressions, const Ground &ground) {
    List *named = pull_var_clause(reinterpret_cast<Node *>(const_cast<List *>(expressions)), PVC_INCLUDE_WINDOWFUNCS);
    for (const Node *each : pg::each<const Node>(named)) {
        if (!looks_on(ground) || list_length(functions_) > kMaxFunctions)
            return false;
        if (const auto *column = each; place_of(column) < 0)
            put(column);
    }
    list_free(named);
    return true;
}

int Columns::place_of(const Node *column) const {
    if (!IsA(column, Var))
        return place_of_function(column);
    const auto *var = reinterpret_cast<const Var *>(column);
    const int key[2] = {static_cast<int>(var->varno), var->varattno};
    const auto *found = static_cast<const Place *>(hash_search(places_, key, HASH_FIND, nullptr));
    return found == nullptr ? -1 : found->place;
}

int Columns::place_of_function(const Node *function) const {
    CHECK_FOR_INTERRUPTS();
    ListCell *cell;
    foreach (cell, functions_)
        if (equal(list_nth(all_, lfirst_int(cell)), function))
            return lfirst_int(cell);
    return -1;
}

void Columns::put(const Node *column) {
    const int place = list_length(all_);
    all_ = lappend(all_, const_cast<Node *>(column));
    if (!IsA(column, Var)) {
        functions_ = lappend_int(functions_, place);
        return;
    }
    const auto *var = reinterpret_cast<const Var *>(column);
    const int key[2] = {static_cast<int>(var->varno), var->varattno};
    static_cast<Place *>(hash_search(places_, key, HASH_ENTER, nullptr))->place = place;
}

}  // namespace steadytext::planner
