// Functions by their OIDs, calls in expressions, calls of whole statements: see find_calls.hpp. Regime: pg.
#include "src/pg/nodes.hpp"
#include "src/pg/tree_walk.hpp"
#include "src/planner/find_calls.hpp"
#include "src/pg/once.hpp"

extern "C" {
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/typcache.h"
}

namespace steadytext::planner {

using pg::as;
using session::ahead::Function;

namespace {

std::span<const Function *const> all_functions;

// ---- functions by their OIDs ----------------------------------------------------------------------------------------

struct Known {
    Oid oid;
    const Function *function;
};
HTAB *known = nullptr;

void forget_known(Datum, int, uint32) {
    if (known != nullptr)
        hash_destroy(known);
    known = nullptr;
}

HTAB *known_functions() {
    pg::once([] { CacheRegisterSyscacheCallback(PROCOID, forget_known, 0); });
    if (known != nullptr)
        return known;
    HASHCTL control{};
    control.keysize = sizeof(Oid);
    control.entrysize = sizeof(Known);
    control.hcxt = TopMemoryContext;
    return known = hash_create("steadytext functions", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

const Function *find_symbol(const char *symbol) {
    for (const Function *function : all_functions)
        if (strcmp(function->symbol, symbol) == 0)
            return function;
    return nullptr;
}

// By its entry in the catalog: the library and the symbol.
const Function *look_up(Oid oid) {
    HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(oid));
    if (!HeapTupleIsValid(tuple))
        return nullptr;
    const Function *function = nullptr;
    const auto *row = reinterpret_cast<Form_pg_proc>(GETSTRUCT(tuple));
    bool lacks_library, lacks_symbol;
    const Datum library = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_probin, &lacks_library);
    const Datum symbol = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc, &lacks_symbol);
    if (row->prolang == ClanguageId && !row->prosecdef && !lacks_library && !lacks_symbol &&
        heap_attisnull(tuple, Anum_pg_proc_proconfig, nullptr) &&
        strcmp(TextDatumGetCString(library), "$libdir/pg_steadytext") == 0)
        function = find_symbol(TextDatumGetCString(symbol));
    ReleaseSysCache(tuple);
    return function;
}

// ---- calls in expressions -------------------------------------------------------------------------------------------

const Function *called(const Node *node) {
    return IsA(node, FuncExpr) ? function_of(as<FuncExpr>(node)->funcid) : nullptr;
}

bool find_call(Node *node, void *) {
    return node != nullptr && (called(node) != nullptr || expression_tree_walker(node, pg::walker(find_call), nullptr));
}

// ---- the calls of a statement ---------------------------------------------------------------------------------------

// Of a function that is not PostgreSQL's own: it may run statements, or be a function of this extension. Another library's
// that depends on nothing but its arguments does neither.
bool may_call(Oid function, void *) {
    if (function < FirstNormalObjectId)
        return false;
    HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
    if (!HeapTupleIsValid(tuple))
        return true;
    const auto *row = reinterpret_cast<Form_pg_proc>(GETSTRUCT(tuple));
    bool lacks_library = true;
    const Datum library = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_probin, &lacks_library);
    const bool is_pure = row->prolang == ClanguageId && row->provolatile == PROVOLATILE_IMMUTABLE && !lacks_library &&
                         strcmp(TextDatumGetCString(library), "$libdir/pg_steadytext") != 0;
    ReleaseSysCache(tuple);
    return !is_pure;
}

bool has_computed_index(Relation table) {
    bool has = false;
    List *indexes = RelationGetIndexList(table);
    ListCell *cell;
    foreach (cell, indexes) {
        HeapTuple tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(cell)));
        has |= !HeapTupleIsValid(tuple) || !heap_attisnull(tuple, Anum_pg_index_indexprs, nullptr) ||
               !heap_attisnull(tuple, Anum_pg_index_indpred, nullptr);
        if (HeapTupleIsValid(tuple))
            ReleaseSysCache(tuple);
    }
    list_free(indexes);
    return has;
}

// Whether anything is computed for each row that is written. The statement has locked the table.
bool computes_when_written(Oid table_oid) {
    Relation table = table_open(table_oid, NoLock);
    const TupleConstr *rules = table->rd_att->constr;
    const TriggerDesc *triggers = table->trigdesc;
    const bool computes =
        table->rd_rel->relkind != RELKIND_RELATION || table->rd_rel->relhassubclass || table->rd_rel->relispartition ||
        (rules != nullptr && (rules->has_generated_stored || rules->num_check > 0)) ||
        (triggers != nullptr &&
         (triggers->trig_insert_before_row || triggers->trig_update_before_row || triggers->trig_delete_before_row)) ||
        has_computed_index(table);
    table_close(table, NoLock);
    return computes;
}

bool is_computed_once(const FuncExpr &call) {
    ListCell *cell;
    foreach (cell, call.args)
        if (!IsA(lfirst(cell), Const))
            return false;
    return true;
}

bool count_calls(Node *node, void *context);

bool count_calls(const List *nodes, void *context) {
    for (Node *each : pg::each<Node>(nodes))
        if (count_calls(each, context))
            return true;
    return false;
}

// Stops as soon as it knows that there may be others. All statements are looked through, so the look at each is short.
bool count_calls(Node *node, void *context) {
    auto &calls = *static_cast<CallsOfStatement *>(context);
    if (node == nullptr)
        return false;
    switch (nodeTag(node)) {
    case T_Var:
    case T_Const:
    case T_Param:
    case T_RangeTblRef:
        return false;
    case T_List:
        return count_calls(reinterpret_cast<List *>(node), context);
    case T_TargetEntry:
        return count_calls(reinterpret_cast<Node *>(reinterpret_cast<TargetEntry *>(node)->expr), context);
    case T_BoolExpr:
        return count_calls(reinterpret_cast<BoolExpr *>(node)->args, context);
    case T_FromExpr: {
        const auto *from = reinterpret_cast<const FromExpr *>(node);
        return count_calls(from->fromlist, context) || count_calls(from->quals, context);
    }
    case T_OpExpr: {
        auto *operation = reinterpret_cast<OpExpr *>(node);
        set_opfuncid(operation);
        calls.may_be_others = may_call(operation->opfuncid, nullptr);
        return calls.may_be_others || count_calls(operation->args, context);
    }
    case T_Query: {
        auto *query = reinterpret_cast<Query *>(node);
        calls.may_be_others =
            query->resultRelation > 0 && computes_when_written(rt_fetch(query->resultRelation, query->rtable)->relid);
        return calls.may_be_others || query_tree_walker(query, pg::walker(count_calls), context, 0);
    }
    case T_FuncExpr: {
        const auto *call = reinterpret_cast<const FuncExpr *>(node);
        if (called(node) != nullptr)
            calls.known += is_computed_once(*call) ? 0 : 1;
        else  // of PostgreSQL's functions, some run a text as a statement
            calls.may_be_others = call->funcid < FirstNormalObjectId
                                      ? func_volatile(call->funcid) == PROVOLATILE_VOLATILE
                                      : may_call(call->funcid, nullptr);
        break;
    }
    case T_CoerceToDomain:
        calls.may_be_others = DomainHasConstraints(reinterpret_cast<const CoerceToDomain *>(node)->resulttype);
        break;
    default:
        calls.may_be_others = check_functions_in_node(node, may_call, nullptr);
        break;
    }
    return calls.may_be_others || expression_tree_walker(node, pg::walker(count_calls), context);
}

}  // namespace

void find_calls_of(std::span<const Function *const> functions) { all_functions = functions; }

const Function *function_of(Oid oid) {
    if (oid < FirstNormalObjectId)
        return nullptr;
    bool found;
    auto *entry = static_cast<Known *>(hash_search(known_functions(), &oid, HASH_FIND, &found));
    if (found)
        return entry->function;
    const Function *function = look_up(oid);  // may forget all that is known
    entry = static_cast<Known *>(hash_search(known_functions(), &oid, HASH_ENTER, &found));
    entry->function = function;
    return function;
}

bool has_call(const void *expression) {
    return find_call(static_cast<Node *>(const_cast<void *>(expression)), nullptr);
}

int first_with_call(const List *expressions) {
    int i = 0;
    for (; i < list_length(expressions); i++)
        if (has_call(list_nth(expressions, i)))
            break;
    return i;
}

CallsOfStatement calls_of_statement(Query *query) {
    CallsOfStatement calls;
    (void)count_calls(reinterpret_cast<Node *>(query), &calls);
    return calls;
}

}  // namespace steadytext::planner
