// Hooks that count the levels of statements, by kind: see statement.hpp. Regime: pg; nothing here has a destructor.
#include "src/pg/compat.hpp"
#include "src/session/statement.hpp"
#include "shmem/segment.hpp"
#include "src/guc.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/folded.hpp"
#include "src/pg/nodes.hpp"
#include "src/session/login.hpp"
#include "src/session/restore.hpp"
#include "src/session/statement_caps.hpp"

extern "C" {
#include "access/xact.h"
#include "commands/defrem.h"
#include "nodes/params.h"
#include "optimizer/planner.h"
#include "replication/logicalworker.h"
#include "tcop/utility.h"
#include "utils/fmgrprotos.h"
#include "utils/inval.h"
#include "utils/plancache.h"
}

#include <utility>

namespace steadytext::session::statement {

namespace {

// The counts of this process. A level is a run of planner, executor or utility statement. A statement of a function is
// a level below its caller's.
struct State {
    int levels = 0;
    int storing = 0;    // levels that store their rows
    int planning = 0;   // levels that are the planner's
    int analyzing = 0;  // levels that are VACUUM or ANALYZE
    RunOfPlan run;      // of the executor, the innermost
    bool explaining = false;
    bool plans_are_stale = false;
    // A value in place of an answer was given, and may be in the caches of relations and types
    bool caches_are_stale = false;
    bool caches_are_stale_at_once = false;  // the same, and a later step of the outermost statement may find it
    bool gave_in_transaction = false;       // a value in place of an answer was given in this transaction
    bool stood_in = false;                  // in the outermost statement, a call got a value in place of an answer
    const ErrorContextCallback *context_of_run = nullptr;
    std::uint64_t answered = 0;
    core::Problem cause;  // of the first such call
};
State state;

planner_hook_type next_planner;
ExecutorStart_hook_type next_executor_start;
ExecutorFinish_hook_type next_executor_finish;
ProcessUtility_hook_type next_utility;

shmem::ParallelNote *note_of(int32 process) {
    return shmem::segment_attached() ? shmem::segment().parallel_notes->of(process) : nullptr;
}

shmem::ParallelNote *my_note() { return MyProc != nullptr ? note_of(pg::my_proc_number()) : nullptr; }

// ---- outside of all statements --------------------------------------------------------------------------------------

// A trigger that was put off until COMMIT, PREPARE TRANSACTION or SET CONSTRAINTS runs outside of the statement that
// fired it.
bool is_in_trigger() { return DatumGetInt32(pg_trigger_depth(nullptr)) > 0; }

// Whether a function runs: an error in it would be reported in its name. The client's own calls have no error context
// but the context that logs parameters.
bool is_in_function() {
    for (const ErrorContextCallback *context = error_context_stack; context != nullptr; context = context->previous)
        if (context->callback != ParamsErrorCallback)
            return true;
    return false;
}

// Outside of all statements, the client itself begins statements, and calls by the fastpath protocol whose result goes
// to it. A trigger is not the client's own; nor is a function that such a call, or a login, runs; nor a process that
// serves no client.
bool is_clients_own() { return whereToSendOutput == DestRemote && !is_in_trigger() && !is_in_function(); }

// A trigger may store the values that it gets; so may a function outside of all statements: one that the fastpath
// protocol calls, a callback of the queue, or one of a generated column whose row logical replication applies.
bool begins_unseen() { return !IsParallelWorker() && (is_in_trigger() || (state.levels == 0 && is_in_function())); }

// ---- levels ---------------------------------------------------------------------------------------------------------

// A level's share of the counts.
struct Level {
    bool stores = false;
    bool plans = false;
    bool analyzes = false;
    bool ends_statement = true;                            // false for the planner: its plan is executed next
    RunOfPlan run{};                                       // of the executor; once it is entered, the outer level's
    const ErrorContextCallback *context_of_run = nullptr;  // as `run`: functions add to it
};

// An earlier process of the same number may have ended within a level, and left its note.
void take_over_note() {
    static bool mine = false;
    shmem::ParallelNote *note = mine ? nullptr : my_note();
    if (note == nullptr)
        return;
    note->stores.store(false);
    note->login.store(login_that_was_set());
    note->stood_in.store(false);
    note->calls.store(0);
    note->tokens.store(0);
    note->most_calls.store(0);
    note->most_tokens.store(0);
    mine = true;
}

// A value in place of an answer was given: a stand-in, or NULL under ANALYZE. If the call was constant, the process
// keeps its value: in the plan, or in its caches of relations and types, which hold index expressions and predicates,
// partition keys and the CHECKs of domains.
void note_unanswered() {
    if (state.planning > 0 || state.analyzing > 0)
        state.plans_are_stale = state.caches_are_stale_at_once = true;
    state.caches_are_stale = state.gave_in_transaction = true;
}

// Called before the next step runs. Not while planner or ANALYZE are under way: they may yet keep the values that they
// got.
void drop_stale_caches() {
    const bool begins = state.levels == 0;
    if (state.planning > 0 || state.analyzing > 0 || !IsTransactionState() ||
        !(state.caches_are_stale_at_once || (begins && state.caches_are_stale)))
        return;
    state.caches_are_stale_at_once = false;
    if (begins)
        state.caches_are_stale = false;
    InvalidateSystemCaches();
}

void enter(const Level &level) {
    if (state.levels == 0) {
        take_over_note();
        restore::begin_statement();
    }
    caps::begin_level();
    drop_stale_caches();
    state.levels++;
    state.planning += level.plans;
    state.analyzing += level.analyzes;
    if (level.stores && state.storing++ == 0)
        if (shmem::ParallelNote *note = my_note(); note != nullptr)
            note->stores.store(true);
}

void end_statement() {
    state.stood_in = false;
    state.answered = 0;
    if (shmem::ParallelNote *note = my_note(); note != nullptr && note->stood_in.load(std::memory_order_relaxed))
        note->stood_in.store(false);
}

void drop_stale_plans() {
    if (!state.plans_are_stale || state.planning > 0)
        return;
    state.plans_are_stale = false;
    ResetPlanCache();
}

void leave(const Level &level) {
    state.run = level.run;
    state.context_of_run = level.context_of_run;
    state.levels--;
    state.planning -= level.plans;
    state.analyzing -= level.analyzes;
    if (level.stores && --state.storing == 0)
        if (shmem::ParallelNote *note = my_note(); note != nullptr)
            note->stores.store(false);
    if (level.ends_statement)
        drop_stale_plans();
    if (level.ends_statement && state.levels == 0)
        end_statement();
}

template <class Body>
void within(Level level, Body &&body) {
    level.stores |= begins_unseen();
    enter(level);
    if (level.run.number == 0) {
        level.run = state.run;
        level.context_of_run = state.context_of_run;
    }
    std::swap(level.run, state.run);
    std::swap(level.context_of_run, state.context_of_run);
    PG_TRY();
    { body(); }
    PG_FINALLY();
    { leave(level); }
    PG_END_TRY();
}

void at_transaction_end(XactEvent event, void *) {
    if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
        return;
    drop_stale_plans();
    // Relations that were open until now have kept their values.
    state.caches_are_stale |= state.gave_in_transaction;
    state.gave_in_transaction = false;
    if (state.levels == 0)
        end_statement();
}

bool stood_in() {
    const shmem::ParallelNote *note = my_note();
    return state.stood_in || (note != nullptr && note->stood_in.load(std::memory_order_relaxed));
}

// A call of an outer statement got a stand-in: a statement that puts values into rows may be about to store it.
void refuse_stand_in(bool puts_values) {
    if (!puts_values || (state.levels == 0 && is_clients_own()) ||
        guc::on_failure != static_cast<int>(guc::OnFailure::Auto) || !stood_in())
        return;
    core::Problem problem = state.cause;
    if (!problem.is_set())
        problem.set(core::sqlstate::kConnectionFailure, "no daemon answered a call of this statement");
    explain_storing(problem);
    pg::raise(problem);
}

// ---- which statements store -----------------------------------------------------------------------------------------

bool changes_rows(CmdType command, bool has_modifying_with) {
    return (command != CMD_SELECT && command != CMD_UTILITY && command != CMD_UNKNOWN) || has_modifying_with;
}

bool stores(const QueryDesc *query) {
    const CommandDest goes_to = query->dest != nullptr ? query->dest->mydest : DestNone;
    return changes_rows(query->operation, query->plannedstmt->hasModifyingCTE) || goes_to == DestIntoRel ||
           goes_to == DestTransientRel;
}

bool has_option(const List *options, const char *name) {
    for (DefElem *option : pg::each<DefElem>(options)) {
        if (strcmp(option->defname, name) == 0)
            return defGetBoolean(option);
    }
    return false;
}

// VACUUM FULL makes indexes anew, so it stores. ANALYZE after it finds the answers to those calls in the cache. Other
// VACUUM stores in indexes only: see stores_rows().
Level level_of(const VacuumStmt *vacuum) {
    const bool is_full = vacuum->is_vacuumcmd && has_option(vacuum->options, "full");
    return {.stores = is_full, .analyzes = !is_full};
}

// Statements that only hand on the rows, or the errors, of others do not store; nor do statements that evaluate
// nothing. All others store.
Level level_of(const Node *statement) {
    switch (nodeTag(statement)) {
    case T_VacuumStmt:
        return level_of(reinterpret_cast<const VacuumStmt *>(statement));
    case T_CopyStmt:
        return {.stores = reinterpret_cast<const CopyStmt *>(statement)->is_from};
    case T_ExplainStmt: {
        const Node *query = reinterpret_cast<const ExplainStmt *>(statement)->query;
        return {.stores = IsA(query, Query) && reinterpret_cast<const Query *>(query)->commandType == CMD_UTILITY};
    }
    case T_PrepareStmt:
    case T_ExecuteStmt:
    case T_DeallocateStmt:
    case T_DeclareCursorStmt:
    case T_FetchStmt:
    case T_ClosePortalStmt:
    case T_DoStmt:
    case T_CallStmt:
    case T_TransactionStmt:
    case T_VariableSetStmt:
    case T_VariableShowStmt:
    case T_DiscardStmt:
    case T_LockStmt:
    case T_ConstraintsSetStmt:
    case T_ListenStmt:
    case T_UnlistenStmt:
    case T_NotifyStmt:
    case T_LoadStmt:
    case T_CheckPointStmt:
        return {};
    default:
        return {.stores = true};
    }
}

// Adds or changes columns, with values for the rows that exist.
bool gives_values(const AlterTableCmd *command) {
    if (command->subtype == AT_AlterColumnType || pg::sets_expression(command->subtype))
        return true;
    if (command->subtype != AT_AddColumn)
        return false;
    for (const Constraint *each :
         pg::each<const Constraint>(reinterpret_cast<const ColumnDef *>(command->def)->constraints))
        if (const ConstrType type = each->contype; type == CONSTR_DEFAULT || type == CONSTR_GENERATED)
            return true;
    return false;
}

bool gives_values(const AlterTableStmt *statement) {
    for (const AlterTableCmd *each : pg::each<const AlterTableCmd>(statement->cmds))
        if (gives_values(each))
            return true;
    return false;
}

// Whether a statement that stores puts values into rows. Then, with any calls of its own, it may store a stand-in that
// was given before. The other statements only evaluate again the contents of rows, or of tables.
bool puts_values(const Node *statement) {
    switch (nodeTag(statement)) {
    case T_CopyStmt:
        return reinterpret_cast<const CopyStmt *>(statement)->is_from;
    case T_CreateTableAsStmt:
        return !reinterpret_cast<const CreateTableAsStmt *>(statement)->into->skipData;
    case T_RefreshMatViewStmt:
        return !reinterpret_cast<const RefreshMatViewStmt *>(statement)->skipData;
    case T_AlterTableStmt:
        return gives_values(reinterpret_cast<const AlterTableStmt *>(statement));
    case T_ExplainStmt:
        return level_of(statement).stores;
    default:
        return false;
    }
}

// ---- hooks ----------------------------------------------------------------------------------------------------------

PlannedStmt *plan(Query *query, const char *text, int options, ParamListInfo parameters) {
    const Level level{
        .stores = changes_rows(query->commandType, query->hasModifyingCTE), .plans = true, .ends_statement = false};
    PlannedStmt *volatile planned = nullptr;
    within(level, [&] {
        planned = next_planner != nullptr ? next_planner(query, text, options, parameters)
                                          : standard_planner(query, text, options, parameters);
    });
    if (state.caches_are_stale_at_once)
        pg::forget_evaluated(planned->relationOids);
    return planned;
}

// Generated columns are prepared here, and their constants evaluated.
void start(QueryDesc *query, int flags) {
    const auto next = [&] {
        (next_executor_start != nullptr ? next_executor_start : standard_ExecutorStart)(query, flags);
    };
    if (!stores(query))
        return next();
    within({.stores = true, .ends_statement = false}, next);
}

void run(QueryDesc *query, uint64 count, pg::execute_next_type next, void *context) {
    static std::uint64_t last_number = 0;
    const Level level{.stores = stores(query), .run = {++last_number, count}, .context_of_run = error_context_stack};
    refuse_stand_in(level.stores);
    within(level, [&] { next(context); });
}

// Triggers that fire after a statement fire here.
void finish(QueryDesc *query) {
    within({.stores = stores(query)},
           [&] { (next_executor_finish != nullptr ? next_executor_finish : standard_ExecutorFinish)(query); });
}

void run_utility(PlannedStmt *planned, const char *text, bool read_only_tree, ProcessUtilityContext context,
                 ParamListInfo parameters, QueryEnvironment *environment, DestReceiver *destination,
                 QueryCompletion *completion) {
    const Level level = level_of(planned->utilityStmt);
    refuse_stand_in(puts_values(planned->utilityStmt));
    within(level, [&] {
        (next_utility != nullptr ? next_utility : standard_ProcessUtility)(
            planned, text, read_only_tree, context, parameters, environment, destination, completion);
    });
    restore::note_utility(planned->utilityStmt);
}

}  // namespace

void install_hooks() {
    next_planner = planner_hook;
    planner_hook = plan;
    next_executor_start = ExecutorStart_hook;
    ExecutorStart_hook = start;
    pg::hook_executor_run(run);
    next_executor_finish = ExecutorFinish_hook;
    ExecutorFinish_hook = finish;
    next_utility = ProcessUtility_hook;
    ProcessUtility_hook = run_utility;
    RegisterXactCallback(at_transaction_end, nullptr);
}

bool stores_rows() {
    if (state.storing > 0 || is_in_trigger())
        return true;
    if (const int32 leader = pg::parallel_leader(); leader >= 0) {
        const shmem::ParallelNote *note = note_of(leader);
        return note == nullptr || note->stores.load(std::memory_order_relaxed);
    }
    // Outside of all statements: for example, a process that applies replicated changes. In a maintenance operation,
    // which runs as the table's owner: the value goes into an index.
    return InSecurityRestrictedOperation() || (state.levels == 0 && !is_clients_own());
}

RunOfPlan run_of_plan() { return state.run; }

bool is_run_itself() { return state.run.number != 0 && error_context_stack == state.context_of_run; }

bool is_analyzing() {
    const bool is = pg::gathers_statistics() || state.explaining;
    if (is)
        note_unanswered();  // by the caller, if the answer is not cached
    return is;
}

bool explains(bool is_under_way) { return std::exchange(state.explaining, is_under_way); }

void note_answer() { state.answered++; }

void note_stand_in(const core::Problem &problem) {
    note_unanswered();
    if (!state.stood_in)
        state.cause = problem;
    state.stood_in = true;
    if (shmem::ParallelNote *note = note_of(pg::parallel_leader()); note != nullptr)
        note->stood_in.store(true);
}

// A daemon answered, and not with what was asked for: the next time it may well say the same.
static bool is_of_the_call(const core::Problem &problem) {
    return strcmp(problem.sqlstate, core::sqlstate::kExternalRoutineError) == 0 ||
           strcmp(problem.sqlstate, core::sqlstate::kProtocolViolation) == 0;
}

void explain_storing(core::Problem &problem) {
    char before[sizeof problem.detail];
    strlcpy(before, problem.detail, sizeof before);
    const char *kept = guc::cache_enabled ? "; from the cache they cost nothing when it is run again" : "";
    problem.with_detail(
        "%s%sThe statement stores its rows, so it is given no fallback. %llu of its calls were answered%s.", before,
        before[0] != '\0' ? " " : "", static_cast<unsigned long long>(state.answered), state.answered > 0 ? kept : "");
    if (problem.hint[0] != '\0')
        return;
    if (is_of_the_call(problem))
        problem.with_hint(
            "To store the other rows, take the value of steadytext_try_generate() and its like, which give "
            "NULL and the reason, or set steadytext.on_failure to null.");
    else
        problem.with_hint(
            "Run it again when a daemon answers. steadytext.on_failure says what a call gives that none answers.");
}

}  // namespace steadytext::session::statement
