// Takes lists out of the cache of relations: see folded.hpp. Readers of index expressions have copies, and a partition
// key has a memory context of its own, so nothing is freed. Regime: pg.
#include "src/pg/folded.hpp"

extern "C" {
#include "utils/rel.h"
#include "utils/relcache.h"
}

namespace steadytext::pg {

namespace {

void forget_index(Oid index) {
    Relation relation = RelationIdGetRelation(index);
    if (relation == nullptr)  // dropped concurrently
        return;
    relation->rd_indexprs = NIL;
    relation->rd_indpred = NIL;
    RelationClose(relation);
}

void forget_table(Oid table) {
    Relation relation = RelationIdGetRelation(table);
    if (relation == nullptr)
        return;
    List *indexes = RelationGetIndexList(relation);
    ListCell *cell;
    foreach (cell, indexes)
        forget_index(lfirst_oid(cell));
    list_free(indexes);
    if (const bool is_open_elsewhere = relation->rd_refcnt > 1; is_open_elsewhere) {
        relation->rd_partkey = nullptr;
        relation->rd_partkeycxt = nullptr;
    }
    RelationClose(relation);
}

}  // namespace

void forget_evaluated(const List *tables) {
    ListCell *cell;
    foreach (cell, tables)
        forget_table(lfirst_oid(cell));
}

}  // namespace steadytext::pg
