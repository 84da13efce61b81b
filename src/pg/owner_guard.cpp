// The hooks at which OIDs are known, and the check of utility statements: see owner_guard.hpp. Regime: pg; nothing here
// has a destructor.
//
//    post_parse_analyze   names have just been resolved; also the body of an SQL function that is about to be inlined
//    planner              a kept statement, analysed as another role, is planned again, which computes constants
//    ExecutorStart        a kept plan, made as another role, is run
//    object access        a function that stands in no statement is about to run: the function of a domain's constraint
//    ProcessUtility       inside functions and workers only a few utility statements are allowed: no function of the
//                         extension changes an object or grants a right
#include "src/pg/nodes.hpp"
#include "src/pg/tree_walk.hpp"
#include "src/pg/owner_guard.hpp"
#include "src/pg/as_owner.hpp"
#include "src/pg/own_table.hpp"

extern "C" {
#include "access/htup_details.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_proc.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/planner.h"
#include "parser/analyze.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
}

namespace steadytext::pg {

namespace {

post_parse_analyze_hook_type next_post_parse_analyze;
planner_hook_type next_planner;
ExecutorStart_hook_type next_executor_start;
object_access_hook_type next_object_access;
ProcessUtility_hook_type next_utility;

// The role's OID, and whether it is known: forgotten whenever a role changes.
Oid owner_role = InvalidOid;
bool knows_owner_role = false;

void forget_owner_role(Datum, int, uint32) { knows_owner_role = false; }

bool runs_as_owner() {
    if (!IsTransactionState())
        return false;
    if (!knows_owner_role) {
        owner_role = get_role_oid(kOwnerRole, true);
        knows_owner_role = true;
    }
    return OidIsValid(owner_role) && GetUserId() == owner_role;
}

void check_relation(Oid relation) {
    if (relation < FirstNormalObjectId || is_own_relation(relation))
        return;
    const char *name = get_rel_name(relation);
    const char *schema = get_namespace_name(get_rel_namespace(relation));
    ereport(
        ERROR,
        (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
         errmsg("a statement of role \"%s\" must not use relation %s", kOwnerRole,
                name == nullptr || schema == nullptr ? psprintf("%u", relation)
                                                     : quote_qualified_identifier(schema, name)),
         errdetail("It is not part of extension pg_steadytext."),
         errhint("If it has the name of a table of the extension, schema public was renamed and has to be put back; "
                 "a trigger on a table of the extension can use it if its function is SECURITY DEFINER.")));
}

// Also checks views: a view becomes a subquery that has its OID or, until 15, entries in it that have it.
void check_entry(const RangeTblEntry &entry) {
    if (OidIsValid(entry.relid))
        check_relation(entry.relid);
}

// For check_functions_in_node(): true would end the walk; here an error ends it.
bool check_function(Oid function, void *) {
    if (function < FirstNormalObjectId)
        return false;
    HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
    if (!HeapTupleIsValid(tuple))
        return false;  // not there: it will not run
    const Oid owner = reinterpret_cast<Form_pg_proc>(GETSTRUCT(tuple))->proowner;
    ReleaseSysCache(tuple);
    if (owner == owner_role || superuser_arg(owner))
        return false;
    ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                    errmsg("a statement of role \"%s\" must not call function %s", kOwnerRole, get_func_name(function)),
                    errdetail("It belongs to a role that is no superuser.")));
}

bool check_node(Node *node, void *) {
    if (node == nullptr)
        return false;
    if (IsA(node, RangeTblEntry)) {
        check_entry(*reinterpret_cast<RangeTblEntry *>(node));
        return false;  // the walker visits its contents next
    }
    if (IsA(node, Query))
        return query_tree_walker(reinterpret_cast<Query *>(node), walker(check_node), nullptr, QTW_EXAMINE_RTES_BEFORE);
    (void)check_functions_in_node(node, check_function, nullptr);
    return expression_tree_walker(node, walker(check_node), nullptr);
}

void check_query(Query *query) {
    (void)check_node(reinterpret_cast<Node *>(query), nullptr);
    if (query->commandType == CMD_UTILITY && query->utilityStmt != nullptr)
        (void)check_node(reinterpret_cast<Node *>(UtilityContainsQuery(query->utilityStmt)), nullptr);
}

void analyzed(ParseState *state, Query *query, JumbleState *jumble) {
    if (next_post_parse_analyze != nullptr)
        next_post_parse_analyze(state, query, jumble);
    if (runs_as_owner())
        check_query(query);
}

PlannedStmt *plan(Query *query, const char *text, int options, ParamListInfo params) {
    if (runs_as_owner())
        check_query(query);
    return next_planner != nullptr ? next_planner(query, text, options, params)
                                   : standard_planner(query, text, options, params);
}

void start(QueryDesc *query, int flags) {
    if (runs_as_owner()) {
        for (const RangeTblEntry *each : pg::each<const RangeTblEntry>(query->plannedstmt->rtable))
            check_entry(*each);
    }
    next_executor_start != nullptr ? next_executor_start(query, flags) : standard_ExecutorStart(query, flags);
}

void accessed(ObjectAccessType access, Oid class_id, Oid object, int part, void *argument) {
    if (next_object_access != nullptr)
        next_object_access(access, class_id, object, part, argument);
    if (access == OAT_FUNCTION_EXECUTE && runs_as_owner())
        (void)check_function(object, nullptr);
}

// Statements that the extension's functions need, and statements that contain a query, which is checked by itself.
bool is_allowed(const Node *statement) {
    switch (nodeTag(statement)) {
    case T_LockStmt:
    case T_VariableSetStmt:
    case T_VariableShowStmt:
    case T_NotifyStmt:
    case T_ExplainStmt:
    case T_DeclareCursorStmt:
    case T_FetchStmt:
    case T_ClosePortalStmt:
        return true;
    default:
        return false;
    }
}

// If a superuser has become the role and types a statement, the superuser is responsible for it.
void check_utility(const Node *statement, ProcessUtilityContext context) {
    if (context == PROCESS_UTILITY_TOPLEVEL || is_allowed(statement) || !runs_as_owner())
        return;
    ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                    errmsg("role \"%s\" must not run %s inside a function", kOwnerRole,
                           GetCommandTagName(CreateCommandTag(const_cast<Node *>(statement))))));
}

void run_utility(PlannedStmt *statement, const char *text, bool read_only, ProcessUtilityContext context,
                 ParamListInfo parameters, QueryEnvironment *environment, DestReceiver *receiver,
                 QueryCompletion *completion) {
    check_utility(statement->utilityStmt, context);
    (next_utility != nullptr ? next_utility : standard_ProcessUtility)(statement, text, read_only, context, parameters,
                                                                       environment, receiver, completion);
}

}  // namespace

void install_owner_guard() {
    CacheRegisterSyscacheCallback(AUTHOID, forget_owner_role, static_cast<Datum>(0));
    next_post_parse_analyze = post_parse_analyze_hook;
    post_parse_analyze_hook = analyzed;
    next_planner = planner_hook;
    planner_hook = plan;
    next_executor_start = ExecutorStart_hook;
    ExecutorStart_hook = start;
    next_object_access = object_access_hook;
    object_access_hook = accessed;
    next_utility = ProcessUtility_hook;
    ProcessUtility_hook = run_utility;
}

}  // namespace steadytext::pg
