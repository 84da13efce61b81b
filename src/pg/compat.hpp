// The only file that names PostgreSQL versions (14 to 18).
//
// Used by src/pg, src/, src/functions, bgworker and shmem/segment. Regime: pg.
#pragma once

#include "src/pg/postgres.hpp"

extern "C" {
#include "access/genam.h"
#include "access/heapam.h"
#include "access/tupdesc.h"
#include "catalog/pg_database.h"
#include "catalog/pg_proc.h"
#include "commands/explain.h"
#include "executor/executor.h"
#if PG_VERSION_NUM >= 180000
#include "commands/explain_format.h"
#include "commands/explain_state.h"
#endif
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "postmaster/autovacuum.h"
#include "postmaster/bgworker_internals.h"
#include "replication/walsender.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "access/parallel.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/backend_status.h"
#include "utils/guc.h"
#include "utils/pg_locale.h"
#include "utils/regproc.h"
#include "utils/wait_event.h"
#if PG_VERSION_NUM >= 150000
#include "common/pg_prng.h"
#endif
}

#if PG_VERSION_NUM < 140000
#error "pg_steadytext needs PostgreSQL 14 or later"
#endif

namespace steadytext::pg {

// Runs `request` when shared memory may be requested: at once on 14, from shmem_request_hook on later versions.
#if PG_VERSION_NUM >= 150000
inline shmem_request_hook_type previous_shmem_request_hook = nullptr;
inline void (*shmem_request)() = nullptr;

inline void on_shmem_request(void (*request)()) {
    shmem_request = request;
    previous_shmem_request_hook = shmem_request_hook;
    shmem_request_hook = [] {
        if (previous_shmem_request_hook != nullptr)
            previous_shmem_request_hook();
        shmem_request();
    };
}
#else
inline void on_shmem_request(void (*request)()) { request(); }
#endif

// Makes an unknown `steadytext.*` setting an error instead of a placeholder.
inline void reserve_guc_prefix(const char *prefix) {
#if PG_VERSION_NUM >= 150000
    MarkGUCPrefixReserved(prefix);
#else
    EmitWarningsOnPlaceholders(prefix);
#endif
}

// What EXPLAIN does with a statement if no hook is set.
using explain_one_query_type = void (*)(Query *, int, IntoClause *, ExplainState *, const char *, ParamListInfo,
                                        QueryEnvironment *);
inline void standard_explain_one_query(Query *query, int options, IntoClause *into, ExplainState *state,
                                       const char *text, ParamListInfo parameters, QueryEnvironment *environment) {
#if PG_VERSION_NUM >= 170000
    standard_ExplainOneQuery(query, options, into, state, text, parameters, environment);
#else
    BufferUsage buffers = pgBufferUsage;
    instr_time start, took;
    INSTR_TIME_SET_CURRENT(start);
    PlannedStmt *plan = pg_plan_query(query, text, options, parameters);
    INSTR_TIME_SET_CURRENT(took);
    INSTR_TIME_SUBTRACT(took, start);
    BufferUsage used = {};
    BufferUsageAccumDiff(&used, &pgBufferUsage, &buffers);
    ExplainOnePlan(plan, into, state, text, parameters, environment, &took, state->buffers ? &used : nullptr);
#endif
}

// A walker of node trees, as expression_tree_walker() takes it: until 15 it is declared without its arguments.
#if PG_VERSION_NUM >= 160000
using tree_walker_type = tree_walker_callback;
#else
using tree_walker_type = bool (*)();
#endif

// The same of plan states, for planstate_tree_walker().
#if PG_VERSION_NUM >= 160000
using planstate_walker_type = planstate_tree_walker_callback;
#else
using planstate_walker_type = bool (*)();
#endif

// The same for expression_tree_mutator().
#if PG_VERSION_NUM >= 160000
using tree_mutator_type = tree_mutator_callback;
#else
using tree_mutator_type = Node *(*)();
#endif

// A wait event of our own where PostgreSQL has such events (17), else the shared event.
inline uint32 wait_event([[maybe_unused]] const char *name) {
#if PG_VERSION_NUM >= 170000
    return WaitEventExtensionNew(name);
#else
    return PG_WAIT_EXTENSION;
#endif
}

// This process's number in the array of processes, and the latch of another process by its number.
inline int32 my_proc_number() {
#if PG_VERSION_NUM >= 170000
    return MyProcNumber;
#else
    return MyProc->pgprocno;
#endif
}

// The number of the process whose parallel query this process works for; -1: it works for none.
inline int32 parallel_leader() {
    PGPROC *leader = IsParallelWorker() ? MyProc->lockGroupLeader : nullptr;
    if (leader == nullptr)
        return -1;
#if PG_VERSION_NUM >= 170000
    return GetNumberFromPGProc(leader);
#else
    return leader->pgprocno;
#endif
}

// Whether this process is at ANALYZE of a table, by hand or as an autovacuum worker, as pg_stat_progress_analyze shows.
// VACUUM of the table before it is not. With track_activities = off this is not known: false.
inline bool gathers_statistics() {
    return MyBEEntry != nullptr && MyBEEntry->st_progress_command == PROGRESS_COMMAND_ANALYZE;
}

// Hooks the execution of plans; the hook has an argument less since 18: `around(query, count, next, context)`, in which
// `count` is the number of rows that are wanted (0: all) and `next(context)` goes on.
using execute_next_type = void (*)(void *);
inline ExecutorRun_hook_type next_executor_run = nullptr;
inline void (*around_executor_run)(QueryDesc *query, uint64 count, execute_next_type next, void *context) = nullptr;
inline void hook_executor_run(void (*around)(QueryDesc *, uint64, execute_next_type, void *)) {
    struct Run {
        QueryDesc *query;
        ScanDirection direction;
        uint64 count;
        bool once;
    };
    around_executor_run = around;
    next_executor_run = ExecutorRun_hook;
#if PG_VERSION_NUM >= 180000
    ExecutorRun_hook = [](QueryDesc *query, ScanDirection direction, uint64 count) {
        Run run{query, direction, count, false};
        const auto next = [](void *context) {
            const Run &mine = *static_cast<Run *>(context);
            (next_executor_run != nullptr ? next_executor_run : standard_ExecutorRun)(mine.query, mine.direction,
                                                                                      mine.count);
        };
#else
    ExecutorRun_hook = [](QueryDesc *query, ScanDirection direction, uint64 count, bool once) {
        Run run{query, direction, count, once};
        const auto next = [](void *context) {
            const Run &mine = *static_cast<Run *>(context);
            (next_executor_run != nullptr ? next_executor_run : standard_ExecutorRun)(mine.query, mine.direction,
                                                                                      mine.count, mine.once);
        };
#endif
        around_executor_run(query, count, next, &run);
    };
}

// A parsed statement without parameters, analysed and rewritten.
inline List *analyzed(RawStmt *statement, const char *text) {
#if PG_VERSION_NUM >= 150000
    return pg_analyze_and_rewrite_fixedparams(statement, text, nullptr, 0, nullptr);
#else
    return pg_analyze_and_rewrite(statement, text, nullptr, 0, nullptr);
#endif
}

// Whether a parsed statement is MERGE, which is new in 15.
inline bool is_merge([[maybe_unused]] const Node *statement) {
#if PG_VERSION_NUM >= 150000
    return IsA(statement, MergeStmt);
#else
    return false;
#endif
}

// A string constant, as the parser makes it; the value is copied.
inline A_Const *string_constant(const char *value) {
    A_Const *constant = makeNode(A_Const);
#if PG_VERSION_NUM >= 150000
    constant->val.sval.type = T_String;
    constant->val.sval.sval = pstrdup(value);
#else
    constant->val = *makeString(pstrdup(value));
#endif
    constant->location = -1;
    return constant;
}

// Replaces a row of a table without indexes.
inline void update_heap_tuple(Relation table, ItemPointer place, HeapTuple tuple) {
#if PG_VERSION_NUM >= 160000
    TU_UpdateIndexes indexes = TU_None;
    simple_heap_update(table, place, tuple, &indexes);
#else
    simple_heap_update(table, place, tuple);
#endif
}

// A name with its schema, in parts; an ERROR if the text is no name.
inline List *qualified_name_list(const char *name) {
#if PG_VERSION_NUM >= 160000
    return stringToQualifiedNameList(name, nullptr);
#else
    return stringToQualifiedNameList(name);
#endif
}

// At least 0, below 1; differs between processes.
inline double random_fraction() {
#if PG_VERSION_NUM >= 150000
    return pg_prng_double(&pg_global_prng_state);
#else
    return static_cast<double>(random()) / (static_cast<double>(MAX_RANDOM_VALUE) + 1);
#endif
}

// Regular processes have numbers below this. Known once shared memory may be requested.
inline uint32 max_processes() {
#if PG_VERSION_NUM >= 150000
    return static_cast<uint32>(MaxBackends);
#else
    return static_cast<uint32>(MaxConnections + autovacuum_max_workers + 1 + max_worker_processes + max_wal_senders);
#endif
}

// Whether a worker may connect as a role without LOGIN.
#if PG_VERSION_NUM >= 170000
inline constexpr bool kWorkersNeedNoLogin = true;
inline constexpr uint32 kWorkerFlags = BGWORKER_BYPASS_ROLELOGINCHECK;
inline constexpr bool kHasTransactionTimeout = true;
#else
inline constexpr bool kWorkersNeedNoLogin = false;
inline constexpr uint32 kWorkerFlags = 0;
inline constexpr bool kHasTransactionTimeout = false;
#endif

// Whether a function that only reads may begin a subtransaction during a parallel query.
inline constexpr bool kSubtransactionsInParallel = PG_VERSION_NUM >= 170000;

// Whether only ASCII letters and digits count as such under this collation.
inline bool has_ctype_c(Oid collation) {
#if PG_VERSION_NUM >= 180000
    return pg_newlocale_from_collation(collation)->ctype_is_c;
#else
    return lc_ctype_is_c(collation);
#endif
}

// Whether new rows must satisfy this CHECK.
inline bool is_enforced([[maybe_unused]] const ConstrCheck &check) {
#if PG_VERSION_NUM >= 180000
    return check.ccenforced;
#else
    return true;
#endif
}

inline bool may_execute(Oid role, Oid function) {
#if PG_VERSION_NUM >= 160000
    return object_aclcheck(ProcedureRelationId, function, role, ACL_EXECUTE) == ACLCHECK_OK;
#else
    return pg_proc_aclcheck(function, role, ACL_EXECUTE) == ACLCHECK_OK;
#endif
}

// Whether a role has the privilege to connect to this database.
inline bool may_connect(Oid role) {
#if PG_VERSION_NUM >= 160000
    return object_aclcheck(DatabaseRelationId, MyDatabaseId, role, ACL_CONNECT) == ACLCHECK_OK;
#else
    return pg_database_aclcheck(MyDatabaseId, role, ACL_CONNECT) == ACLCHECK_OK;
#endif
}

// Whether a static background worker of this type has a place in max_worker_processes: a worker without a place is not
// registered, and only the log says so. Call it in the postmaster.
inline bool is_registered_worker(const char *type) {
#if PG_VERSION_NUM >= 180000
    const dlist_node *const end = &BackgroundWorkerList.head, *node = end->next;
#else
    const slist_node *const end = nullptr, *node = BackgroundWorkerList.head.next;
#endif
    for (; node != end && node != nullptr; node = node->next) {
        const char *worker = reinterpret_cast<const char *>(node) - offsetof(RegisteredBgWorker, rw_lnode);
        if (strcmp(reinterpret_cast<const RegisteredBgWorker *>(worker)->rw_worker.bgw_type, type) == 0)
            return true;
    }
    return false;
}

// ALTER TABLE ... ALTER COLUMN ... SET EXPRESSION.
inline bool sets_expression([[maybe_unused]] AlterTableType type) {
#if PG_VERSION_NUM >= 170000
    return type == AT_SetExpression;
#else
    return false;
#endif
}

inline void set_latch_of(int32 proc_number) {
    if (proc_number >= 0 && static_cast<uint32>(proc_number) < ProcGlobal->allProcCount)
        SetLatch(&ProcGlobal->allProcs[proc_number].procLatch);
}

// The database of the process that has this number now.
inline Oid database_of(int32 proc_number) {
    return proc_number >= 0 && static_cast<uint32>(proc_number) < ProcGlobal->allProcCount
               ? ProcGlobal->allProcs[proc_number].databaseId
               : InvalidOid;
}

// The process that has this number now; 0: no process.
inline int pid_of(int32 proc_number) {
    return proc_number >= 0 && static_cast<uint32>(proc_number) < ProcGlobal->allProcCount
               ? ProcGlobal->allProcs[proc_number].pid
               : 0;
}

inline WaitEventSet *create_wait_event_set([[maybe_unused]] int events) {
#if PG_VERSION_NUM >= 170000
    return CreateWaitEventSet(nullptr, events);
#else
    return CreateWaitEventSet(TopMemoryContext, events);
#endif
}

// An index scan that gives rows of its table.
inline IndexScanDesc begin_index_scan(Relation table, Relation index, Snapshot snapshot, int keys) {
#if PG_VERSION_NUM >= 180000
    return index_beginscan(table, index, snapshot, nullptr, keys, 0);
#else
    return index_beginscan(table, index, snapshot, keys, 0);
#endif
}

// Prepares a set-returning function that fills a tuplestore; afterwards rsinfo->setResult and setDesc are ready.
inline ReturnSetInfo *materialize(FunctionCallInfo fcinfo) {
#if PG_VERSION_NUM >= 160000
    InitMaterializedSRF(fcinfo, 0);
#elif PG_VERSION_NUM >= 150000
    SetSingleFuncCall(fcinfo, 0);
#else
    auto *info = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
    if (info == nullptr || !IsA(info, ReturnSetInfo) || (info->allowedModes & SFRM_Materialize) == 0)
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("set-valued function called in context that cannot accept a set")));
    MemoryContext previous = MemoryContextSwitchTo(info->econtext->ecxt_per_query_memory);
    TupleDesc description;
    if (get_call_result_type(fcinfo, nullptr, &description) != TYPEFUNC_COMPOSITE)
        elog(ERROR, "return type must be a row type");
    info->returnMode = SFRM_Materialize;
    info->setResult = tuplestore_begin_heap((info->allowedModes & SFRM_Materialize_Random) != 0, false, work_mem);
    info->setDesc = BlessTupleDesc(description);
    MemoryContextSwitchTo(previous);
#endif
    return reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
}

}  // namespace steadytext::pg
