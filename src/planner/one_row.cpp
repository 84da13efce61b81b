// Aggregates, limits, and scans for all columns of a unique index: see one_row.hpp. Regime: pg.
#include "src/pg/nodes.hpp"
#include "src/pg/tree_walk.hpp"
#include "src/planner/one_row.hpp"

extern "C" {
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
}

namespace steadytext::planner {

namespace {

bool has_column(Node *node, void *) {
    return node != nullptr && (IsA(node, Var) || expression_tree_walker(node, pg::walker(has_column), nullptr));
}

const Node *without_relabel(const Node *node) {
    while (IsA(node, RelabelType))
        node = reinterpret_cast<const Node *>(reinterpret_cast<const RelabelType *>(node)->arg);
    return node;
}

// The columns that a scan compares: of the table `varno`, or, if `is_of_index`, of its index.
struct Conditions {
    int varno;
    bool is_of_index;
    const List *quals;
};

bool is_column(const Node *node, int varno, AttrNumber column) {
    const Node *bare = without_relabel(node);
    if (!IsA(bare, Var))
        return false;
    const auto *var = reinterpret_cast<const Var *>(bare);
    return var->varno == varno && var->varattno == column && var->varlevelsup == 0;
}

// The same for all rows, as the plan is calm.
bool is_value(Node *node) { return !has_column(node, nullptr); }

bool is_equality(const OpExpr &operation, Oid family) {
    return get_op_opfamily_strategy(operation.opno, family) == BTEqualStrategyNumber &&
           OidIsValid(operation.opfuncid) && func_strict(operation.opfuncid) &&
           (!OidIsValid(operation.inputcollid) || get_collation_isdeterministic(operation.inputcollid));
}

bool is_compared(const Conditions &conditions, AttrNumber column, Oid family) {
    for (const OpExpr *operation : pg::each<const OpExpr>(conditions.quals)) {
        if (!IsA(operation, OpExpr) || list_length(operation->args) != 2 || !is_equality(*operation, family))
            continue;
        auto *left = static_cast<Node *>(linitial(operation->args));
        auto *right = static_cast<Node *>(lsecond(operation->args));
        if ((is_column(left, conditions.varno, column) && is_value(right)) ||
            (is_column(right, conditions.varno, column) && is_value(left)))
            return true;
    }
    return false;
}

bool is_btree(Oid index) {
    HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(index));
    const bool is = HeapTupleIsValid(tuple) && reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->relam == BTREE_AM_OID;
    if (HeapTupleIsValid(tuple))
        ReleaseSysCache(tuple);
    return is;
}

// A snapshot of before the index may see rows that are not in it. The statement's snapshot is not older, unless
// a transaction has one for all its statements.
bool is_older_than_snapshots(HeapTuple index) {
    return !IsolationUsesXactSnapshot() && ActiveSnapshotSet() &&
           TransactionIdPrecedes(HeapTupleHeaderGetXmin(index->t_data), GetActiveSnapshot()->xmin);
}

// The index allows a single row for each value of its columns, now and not at the end of a transaction, and all rows are in it.
bool is_unique(HeapTuple tuple) {
    const auto *index = reinterpret_cast<Form_pg_index>(GETSTRUCT(tuple));
    return is_older_than_snapshots(tuple) && index->indisunique && index->indimmediate && index->indisvalid &&
           index->indisready && index->indislive && !index->indcheckxmin && !index->indisexclusion &&
           heap_attisnull(tuple, Anum_pg_index_indpred, nullptr) &&
           heap_attisnull(tuple, Anum_pg_index_indexprs, nullptr) && is_btree(index->indexrelid);
}

// Whether the conditions are for a single value of each column of the index.
bool is_for_one(HeapTuple tuple, const Conditions &conditions) {
    const auto *index = reinterpret_cast<Form_pg_index>(GETSTRUCT(tuple));
    bool lacks_classes;
    const Datum classes = SysCacheGetAttr(INDEXRELID, tuple, Anum_pg_index_indclass, &lacks_classes);
    if (lacks_classes || !is_unique(tuple))
        return false;
    const auto *each = reinterpret_cast<const oidvector *>(DatumGetPointer(classes));
    for (int i = 0; i < index->indnkeyatts; i++) {
        const auto column = conditions.is_of_index ? static_cast<AttrNumber>(i + 1) : index->indkey.values[i];
        if (column == 0 || !is_compared(conditions, column, get_opclass_family(each->values[i])))
            return false;
    }
    return index->indnkeyatts > 0;
}

bool is_for_one(Oid index, const Conditions &conditions) {
    HeapTuple tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
    if (!HeapTupleIsValid(tuple))
        return false;
    const bool is = is_for_one(tuple, conditions);
    ReleaseSysCache(tuple);
    return is;
}

// Whether any of the table's indexes is for a single row.
bool finds_one(const Scan &scan, const List *quals, const Ground &ground) {
    const RangeTblEntry *entry = rt_fetch(scan.scanrelid, ground.statement->rtable);
    if (entry->rtekind != RTE_RELATION || entry->relkind != RELKIND_RELATION)
        return false;
    const Conditions conditions{static_cast<int>(scan.scanrelid), false, quals};
    Relation table = table_open(entry->relid, NoLock);
    List *indexes = RelationGetIndexList(table);
    bool finds = false;
    ListCell *cell;
    foreach (cell, indexes)
        finds = finds || is_for_one(lfirst_oid(cell), conditions);
    list_free(indexes);
    table_close(table, NoLock);
    return finds;
}

bool has_constant_of_one(const Limit &limit) {
    if (limit.limitOption != LIMIT_OPTION_COUNT || limit.limitCount == nullptr || !IsA(limit.limitCount, Const))
        return false;
    const auto *count = reinterpret_cast<const Const *>(limit.limitCount);
    return !count->constisnull && DatumGetInt64(count->constvalue) <= 1;
}

List *both(const List *some, const List *others) { return list_concat_copy(some, others); }

}  // namespace

bool has_one_row(const Plan *plan, const Ground &ground) {
    switch (nodeTag(plan)) {
    case T_Agg:
        return reinterpret_cast<const Agg *>(plan)->aggstrategy == AGG_PLAIN &&
               reinterpret_cast<const Agg *>(plan)->groupingSets == NIL;
    case T_Limit:
        return has_constant_of_one(*reinterpret_cast<const Limit *>(plan)) || has_one_row(plan->lefttree, ground);
    case T_Result:
        return plan->lefttree == nullptr || has_one_row(plan->lefttree, ground);
    case T_Sort:
    case T_Material:
        return has_one_row(plan->lefttree, ground);
    case T_SubqueryScan:
        return has_one_row(reinterpret_cast<const SubqueryScan *>(plan)->subplan, ground);
    case T_SeqScan:
        return finds_one(*reinterpret_cast<const Scan *>(plan), plan->qual, ground);
    case T_BitmapHeapScan: {
        const auto *scan = reinterpret_cast<const BitmapHeapScan *>(plan);
        return finds_one(scan->scan, both(scan->bitmapqualorig, plan->qual), ground);
    }
    case T_IndexScan: {
        const auto *scan = reinterpret_cast<const IndexScan *>(plan);
        return finds_one(scan->scan, both(scan->indexqualorig, plan->qual), ground);
    }
    case T_IndexOnlyScan: {
        const auto *scan = reinterpret_cast<const IndexOnlyScan *>(plan);
        return is_for_one(scan->indexid, {INDEX_VAR, true, scan->indexqual});
    }
    default:
        return false;
    }
}

}  // namespace steadytext::planner
