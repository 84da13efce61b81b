// The custom scan: reads rows before they are asked for and begins their calls. See read_ahead.hpp. Regime: pg.
//
//   below ──▶ waiting rows (a ring) ──▶ the first, when its calls have ended ──▶ quals, target list ──▶ above
//                  │ calls begun, in order
//                  ▼
//             session::ahead
//
// It begins a row's calls in their order, and only after those of all rows before it; but a call that depends on the value
// of another waits until that is answered, and lets the calls of the rows behind it go first. A row with a call that would
// be refused holds back the rows behind it until it has been handed out: so errors come in their order. Where limits bind the calls, a call is
// begun only if it is certain to be made, and in its order; one that is to be made later is tried again until its row is
// the first, and then left to the function. The scan sleeps, and hands on rows as
// they come, while the cache has the answers; a request that a function has to make by itself wakes it.
#include "src/pg/tree_walk.hpp"
#include "src/planner/read_ahead.hpp"
#include "src/planner/find_calls.hpp"
#include "src/core/clock.hpp"
#include "src/session/pending_slot.hpp"
#include "src/session/statement.hpp"

extern "C" {
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/extensible.h"
#include "utils/memutils.h"
#include "utils/ruleutils.h"
}

#include <algorithm>
#include <new>

namespace steadytext::planner {

using session::ahead::Begun;
using session::ahead::Calls;
using session::ahead::Function;

namespace {

constexpr const char *kName = "SteadyText Read Ahead";
constexpr std::uint32_t kMaxRows = 512;         // in the ring
constexpr std::uint32_t kRowsAtOnce = 32;       // before it looks whether there is anything to wait for
constexpr std::uint32_t kRecalledToSleep = 64;  // calls in sequence that the cache answered
constexpr std::uint32_t kVainToStop = 16;       // rows in sequence whose calls nobody took

// A call that each row makes, or each that its guard is true of.
struct Asked {
    const Function *function;
    FunctionCallInfo call;  // filled in row by row
    ExprState **arguments;
    ExprState *guard;  // null: each row makes it
    List *needs;       // calls before it whose values it depends on
    bool is_needed;    // by one behind it
};

struct Row {
    MinimalTuple tuple;
    Begun **calls;           // as many as are asked; null: left to the function, or
    bool *are_null;          // its value is NULL for certain, or it is not made
    int begun;               // how many of them were looked at
    bool holds_others;       // one of them would be refused
    std::uint64_t equal_to;  // a call under way that the next call of the row equals; 0: none
};

// The node's state, made by PostgreSQL's rules: zeroed, CustomScanState first.
struct Scan {
    CustomScanState node;
    Reading reading;
    bool has_quals;
    int asked_count;
    Asked *asked;
    int columns;     // of rows from below; behind them are the values of calls
    bool has_needs;  // a call depends on another
    bool embeds;
    ExprContext *context;       // of the arguments
    TupleTableSlot *asked_row;  // whose arguments are evaluated
    MemoryContext memory;       // of rows
    Calls *calls;               // null: none yet
    Row *ring;
    std::uint32_t first, count;
    std::uint32_t next;  // the first row in the ring whose calls have not all been looked at, from `first`
    std::size_t bytes;
    Row current;   // that was handed out
    bool is_over;  // below there is no more
    bool sleeps, has_stopped;
    std::uint32_t recalled, vain;
    std::uint64_t submitted;  // requests of this process, when it fell asleep
    std::uint64_t run;        // of the executor
    std::int64_t handed_out;  // rows, of all runs
    std::int64_t read;
    std::int64_t given_in_run;  // rows, after the quals
    std::int64_t given_up;      // calls, of runs that had ended
};

Scan &scan_of(CustomScanState *node) { return *reinterpret_cast<Scan *>(node); }
PlanState *below(const Scan &scan) { return outerPlanState(&scan.node.ss.ps); }
Row &row_at(const Scan &scan, std::uint32_t place) { return scan.ring[(scan.first + place) % kMaxRows]; }

// ---- rows -----------------------------------------------------------------------------------------------------------

// The next row from below, or null.
TupleTableSlot *read_row(Scan &scan) {
    if (scan.is_over)
        return nullptr;
    TupleTableSlot *row = ExecProcNode(below(scan));
    if (TupIsNull(row)) {
        scan.is_over = true;
        return nullptr;
    }
    scan.read++;
    return row;
}

// The same columns in the scan's own slot, valid as long as they are where they came from.
TupleTableSlot *show(Scan &scan, TupleTableSlot *row) {
    TupleTableSlot *slot = scan.node.ss.ss_ScanTupleSlot;
    slot_getallattrs(row);
    ExecClearTuple(slot);
    const auto columns = static_cast<std::size_t>(scan.columns);
    memcpy(slot->tts_values, row->tts_values, columns * sizeof(Datum));
    memcpy(slot->tts_isnull, row->tts_isnull, columns * sizeof(bool));
    for (int i = scan.columns; i < slot->tts_tupleDescriptor->natts; i++)
        slot->tts_isnull[i] = true;
    return ExecStoreVirtualTuple(slot);
}

void show(MinimalTuple tuple, TupleTableSlot *slot) {
    HeapTupleData header;
    header.t_len = tuple->t_len + MINIMAL_TUPLE_OFFSET;
    header.t_data = reinterpret_cast<HeapTupleHeader>(reinterpret_cast<char *>(tuple) - MINIMAL_TUPLE_OFFSET);
    ExecClearTuple(slot);
    heap_deform_tuple(&header, slot->tts_tupleDescriptor, slot->tts_values, slot->tts_isnull);
    ExecStoreVirtualTuple(slot);
}

void keep(Scan &scan, TupleTableSlot *row) {
    MemoryContext caller = MemoryContextSwitchTo(scan.memory);
    Row &kept = row_at(scan, scan.count++);
    const auto asked = static_cast<std::size_t>(scan.asked_count);
    kept = {ExecCopySlotMinimalTuple(row),
            static_cast<Begun **>(palloc0(asked * sizeof(Begun *))),
            static_cast<bool *>(palloc0(asked)),
            0,
            false,
            0};
    scan.bytes += kept.tuple->t_len;
    MemoryContextSwitchTo(caller);
}

// True if there was a call that no function had taken.
bool retire_calls(Scan &scan, Row &row) {
    bool any = false;
    for (int i = 0; i < scan.asked_count; i++) {
        if (row.calls[i] == nullptr)
            continue;
        scan.calls->retire(*row.calls[i]);
        any = true;
    }
    return any;
}

void drop_row(Scan &scan, Row &row) {
    if (row.tuple == nullptr)
        return;
    (void)retire_calls(scan, row);
    scan.bytes -= row.tuple->t_len;
    pfree(row.are_null);
    pfree(row.calls);
    pfree(row.tuple);
    row = {};
}

// ---- calls ----------------------------------------------------------------------------------------------------------

// How many calls may be under way at once.
std::uint32_t room(const Scan &scan) {
    return std::max(scan.calls->room() / static_cast<std::uint32_t>(scan.reading.processes), 1U);
}

void evaluate_arguments(const Scan &scan, const Asked &asked) {
    MemoryContext caller = MemoryContextSwitchTo(scan.context->ecxt_per_tuple_memory);
    for (int i = 0; i < asked.call->nargs; i++)
        asked.call->args[i].value = ExecEvalExpr(asked.arguments[i], scan.context, &asked.call->args[i].isnull);
    MemoryContextSwitchTo(caller);
}

bool is_made(const Scan &scan, const Asked &asked) {
    if (asked.guard == nullptr)
        return true;
    bool is_null;
    const Datum made = ExecEvalExprSwitchContext(asked.guard, scan.context, &is_null);
    return !is_null && DatumGetBool(made);
}

// Leaves the row's calls that are not begun yet to the functions.
void leave_to_functions(const Scan &scan, Row &row) {
    row.holds_others = true;
    row.begun = scan.asked_count;
}

bool have_been_begun(const Scan &scan, const Row &row) { return row.begun == scan.asked_count; }

// Whether the next call of the row waits for another's answer.
bool awaits_answer(const Scan &scan, const Row &row) {
    if (row.equal_to != 0 && scan.calls->is_equal_under_way(row.equal_to))
        return true;
    ListCell *cell;
    foreach (cell, scan.asked[row.begun].needs)
        if (const Begun *call = row.calls[lfirst_int(cell)]; call != nullptr && !Calls::has_ended(*call))
            return true;
    return false;
}

// Puts the values that a call depends on into `asked_row`. False if one is not known before its turn.
bool show_values(const Scan &scan, const Row &row, const Asked &asked) {
    MemoryContext caller = MemoryContextSwitchTo(scan.context->ecxt_per_tuple_memory);
    bool are_known = true;
    ListCell *cell;
    foreach (cell, asked.needs) {
        const int number = lfirst_int(cell);
        Datum &value = scan.asked_row->tts_values[scan.columns + number];
        bool &is_null = scan.asked_row->tts_isnull[scan.columns + number];
        is_null = true;
        are_known = are_known && (row.are_null[number] || (row.calls[number] != nullptr &&
                                                           Calls::has_value(*row.calls[number], value, is_null)));
    }
    MemoryContextSwitchTo(caller);
    return are_known;
}

enum class Progress : std::uint8_t { Next, Waits, Stops };

// Begins the next call of the row in `asked_row`.
Progress begin_call(Scan &scan, Row &row, bool is_in_order) {
    const Asked &asked = scan.asked[row.begun];
    if (!show_values(scan, row, asked)) {
        leave_to_functions(scan, row);
        return Progress::Next;
    }
    if (!is_made(scan, asked)) {
        row.are_null[row.begun++] = true;
        return Progress::Next;
    }
    evaluate_arguments(scan, asked);
    switch (scan.calls->begin(*asked.function, asked.call, {is_in_order, scan.has_needs, asked.is_needed},
                              row.calls[row.begun], row.equal_to)) {
    case Calls::Beginning::AsksNothing:
        row.are_null[row.begun] = true;
        [[fallthrough]];
    case Calls::Beginning::Begun:
    case Calls::Beginning::Needless:
        row.begun++;
        row.equal_to = 0;
        return Progress::Next;
    case Calls::Beginning::Equal:
        return Progress::Waits;
    case Calls::Beginning::Later:
        if (&row != &row_at(scan, 0))
            return Progress::Stops;
        break;
    case Calls::Beginning::Never:
        scan.has_stopped = true;
        break;
    case Calls::Beginning::Refused:
        break;
    }
    leave_to_functions(scan, row);
    return Progress::Next;
}

// Begins calls of the row until one waits for another's answer, or there is no room.
Progress begin_row(Scan &scan, Row &row, bool is_in_order) {
    if (awaits_answer(scan, row))
        return Progress::Waits;
    show(row.tuple, scan.asked_row);
    scan.context->ecxt_scantuple = scan.asked_row;
    while (!have_been_begun(scan, row)) {
        CHECK_FOR_INTERRUPTS();
        if (awaits_answer(scan, row))
            return Progress::Waits;
        if (scan.calls->under_way() >= room(scan))
            return Progress::Stops;
        const Progress progress = begin_call(scan, row, is_in_order);
        ResetExprContext(scan.context);
        if (progress != Progress::Next)
            return progress;
    }
    return Progress::Next;
}

// Begins calls of waiting rows, as many as there is room for. False if calls of a further row are not to be begun now.
bool begin_calls(Scan &scan) {
    for (std::uint32_t place = scan.next; place < scan.count; place++) {
        Row &row = row_at(scan, place);
        if (place > 0 && row_at(scan, place - 1).holds_others)
            return false;
        const bool is_in_order = place == scan.next;
        const Progress progress = have_been_begun(scan, row) ? Progress::Next : begin_row(scan, row, is_in_order);
        if (progress == Progress::Stops || (progress == Progress::Waits && scan.calls->are_limited()))
            return false;
        if (progress == Progress::Next && is_in_order)
            scan.next++;
    }
    return true;
}

// Of those that have been begun.
bool have_ended(const Scan &scan, const Row &row) {
    for (int i = 0; i < scan.asked_count; i++)
        if (row.calls[i] != nullptr && !Calls::has_ended(*row.calls[i]))
            return false;
    return true;
}

// How many rows may wait now. If perhaps not all are wanted, as many as have been handed out, less those whose calls were
// given up: so at most as many calls again are begun in vain, in however many runs.
std::int64_t most_waiting(const Scan &scan) {
    const session::statement::RunOfPlan run = session::statement::run_of_plan();
    std::int64_t most = std::min<std::int64_t>(kMaxRows, std::int64_t{room(scan)} * 2);
    bool is_whole = scan.reading.is_whole && run.rows_wanted == 0;
    if (run.rows_wanted > 0 && scan.reading.is_top && !scan.has_quals) {
        most = std::min(most, static_cast<std::int64_t>(run.rows_wanted) - scan.given_in_run);
        is_whole = scan.reading.is_whole;
    }
    if (scan.reading.most > 0 && run.rows_wanted == 0) {
        most = std::min(most, scan.reading.most - scan.handed_out);
        is_whole = true;
    }
    if (!is_whole)
        most = std::min(most, scan.calls->are_limited() ? 1 : scan.handed_out - scan.given_up);
    return std::max<std::int64_t>(most, 1);
}

bool has_room_for_rows(const Scan &scan) {
    return scan.count < most_waiting(scan) && scan.bytes < static_cast<std::size_t>(work_mem) * 1024 &&
           (scan.count == 0 || !row_at(scan, scan.count - 1).holds_others);
}

// The cache, as a rule.
bool are_all_answered(Scan &scan) {
    scan.calls->look();
    return scan.calls->under_way() == 0;
}

// Reads rows as long as calls can be begun for them, and there is something to wait for.
void read_on(Scan &scan) {
    bool goes_on = begin_calls(scan);
    while (goes_on && !scan.is_over && scan.calls->under_way() < room(scan) && has_room_for_rows(scan)) {
        scan.calls->leave_line();
        TupleTableSlot *row = read_row(scan);
        if (row == nullptr)
            return;
        keep(scan, row);
        goes_on = begin_calls(scan);
        if (scan.count % kRowsAtOnce == 0 && are_all_answered(scan))
            return;
        CHECK_FOR_INTERRUPTS();
    }
}

// ---- the row that was handed out ------------------------------------------------------------------------------------

void take_back(Scan &scan) {
    if (scan.current.tuple == nullptr)
        return;
    scan.vain = retire_calls(scan, scan.current) ? scan.vain + 1 : 0;
    scan.has_stopped |= scan.vain >= kVainToStop;
    drop_row(scan, scan.current);
}

void note_recalled(Scan &scan, const Row &row) {
    bool all = true, any = false;
    for (int i = 0; i < scan.asked_count; i++) {
        if (row.are_null[i])
            continue;
        any = true;
        all = all && row.calls[i] != nullptr && Calls::was_recalled(*row.calls[i]);
    }
    if (any)
        scan.recalled = all ? scan.recalled + 1 : 0;
    scan.sleeps = scan.recalled >= kRecalledToSleep;
    scan.submitted = session::PendingSlot::submitted();
}

TupleTableSlot *hand_out(Scan &scan) {
    scan.current = row_at(scan, 0);
    row_at(scan, 0) = {};
    scan.first = (scan.first + 1) % kMaxRows;
    scan.count--;
    scan.next -= scan.next > 0;
    scan.handed_out++;
    note_recalled(scan, scan.current);
    for (int i = 0; i < scan.asked_count; i++)
        if (scan.current.calls[i] != nullptr)
            scan.calls->offer(*scan.current.calls[i]);
    show(scan.current.tuple, scan.node.ss.ss_ScanTupleSlot);
    return scan.node.ss.ss_ScanTupleSlot;
}

// Whether calls are begun now. A plan may be run again by EvalPlanQual, for a single row.
bool goes_ahead(Scan &scan) {
    if (scan.sleeps && scan.submitted != session::PendingSlot::submitted()) {
        scan.sleeps = false;
        scan.recalled = 0;
    }
    if (scan.sleeps || scan.has_stopped || scan.node.ss.ps.state->es_epq_active != nullptr || !Calls::are_allowed())
        return false;
    if (scan.calls == nullptr) {
        scan.ring = static_cast<Row *>(MemoryContextAllocZero(scan.memory, kMaxRows * sizeof(Row)));
        scan.calls = Calls::make(scan.node.ss.ps.state->es_query_cxt, scan.embeds, scan.reading.are_all_calls);
    }
    return true;
}

void begin_run(Scan &scan) {
    const std::uint64_t run = session::statement::run_of_plan().number;
    if (run == scan.run)
        return;
    scan.run = run;
    scan.given_in_run = 0;
    if (scan.calls != nullptr)
        scan.calls->join_run();
}

TupleTableSlot *next_in_turn(Scan &scan) {
    TupleTableSlot *row = read_row(scan);
    if (row == nullptr)
        return nullptr;
    scan.handed_out++;
    return show(scan, row);
}

// The next row from below, in the scan's slot; null after the last.
TupleTableSlot *next_row(Scan &scan) {
    take_back(scan);
    const bool is_ahead = goes_ahead(scan);
    if (!is_ahead && scan.count == 0)
        return next_in_turn(scan);
    scan.calls->enter();
    for (;;) {
        scan.calls->look();
        if (is_ahead)
            read_on(scan);
        scan.calls->look();
        if (scan.count == 0 ||
            (have_ended(scan, row_at(scan, 0)) && (!is_ahead || have_been_begun(scan, row_at(scan, 0)))))
            break;
        scan.calls->wait();
    }
    scan.calls->leave();
    return scan.count == 0 ? nullptr : hand_out(scan);
}

void drop_rows(Scan &scan) {
    take_back(scan);
    for (; scan.count > 0; scan.count--) {
        drop_row(scan, row_at(scan, 0));
        scan.first = (scan.first + 1) % kMaxRows;
    }
    scan.next = 0;
}

// ---- the node, as PostgreSQL calls it ------------------------------------------------------------------------------------

// Numbers of the calls whose values the expression depends on.
struct Needs {
    int columns;
    List *calls;
};

bool find_needs(Node *node, void *context) {
    if (node == nullptr)
        return false;
    auto &needs = *static_cast<Needs *>(context);
    if (IsA(node, Var) && reinterpret_cast<const Var *>(node)->varattno > needs.columns)
        needs.calls =
            list_append_unique_int(needs.calls, reinterpret_cast<const Var *>(node)->varattno - needs.columns - 1);
    return expression_tree_walker(node, pg::walker(find_needs), context);
}

List *needs_of(int columns, const FuncExpr *call, Expr *guard) {
    Needs needs{columns, NIL};
    (void)find_needs(reinterpret_cast<Node *>(call->args), &needs);
    (void)find_needs(reinterpret_cast<Node *>(guard), &needs);
    return needs.calls;
}

Asked make_asked(Scan &scan, const FuncExpr *call, Expr *guard) {
    Asked asked{};
    asked.function = function_of(call->funcid);
    if (asked.function == nullptr)
        elog(ERROR, "function %u of a plan is not known any more", call->funcid);
    const int count = list_length(call->args);
    asked.call = static_cast<FunctionCallInfo>(palloc0(SizeForFunctionCallInfo(count)));
    asked.call->nargs = static_cast<short>(count);
    asked.arguments = static_cast<ExprState **>(palloc0(static_cast<std::size_t>(count) * sizeof(ExprState *)));
    for (int i = 0; i < count; i++)
        asked.arguments[i] = ExecInitExpr(static_cast<Expr *>(list_nth(call->args, i)), &scan.node.ss.ps);
    asked.guard = ExecInitExpr(guard, &scan.node.ss.ps);
    asked.needs = needs_of(scan.columns, call, guard);
    return asked;
}

void begin_scan(CustomScanState *node, EState *state, int flags) {
    Scan &scan = scan_of(node);
    const auto *plan = reinterpret_cast<const CustomScan *>(node->ss.ps.plan);
    outerPlanState(&node->ss.ps) = ExecInitNode(outerPlan(plan), state, flags & ~(EXEC_FLAG_BACKWARD | EXEC_FLAG_MARK));
    scan.reading = read_reading(plan->custom_private);
    scan.has_quals = plan->scan.plan.qual != NIL;
    scan.asked_count = list_length(plan->custom_exprs);
    scan.columns = list_length(outerPlan(plan)->targetlist);
    scan.asked = static_cast<Asked *>(palloc0(static_cast<std::size_t>(scan.asked_count) * sizeof(Asked)));
    scan.embeds = true;
    for (int i = 0; i < scan.asked_count; i++) {
        scan.asked[i] = make_asked(scan, static_cast<const FuncExpr *>(list_nth(plan->custom_exprs, i)),
                                   static_cast<Expr *>(list_nth(scan.reading.guards, i)));
        scan.embeds &= scan.asked[i].function->kind == shmem::CallKind::Embed;
        ListCell *cell;
        foreach (cell, scan.asked[i].needs) {
            scan.asked[lfirst_int(cell)].is_needed = true;
            scan.has_needs = true;
        }
    }
    scan.context = CreateExprContext(state);
    scan.asked_row = ExecInitExtraTupleSlot(state, node->ss.ss_ScanTupleSlot->tts_tupleDescriptor, &TTSOpsVirtual);
    scan.memory = AllocSetContextCreate(state->es_query_cxt, "steadytext rows read ahead", ALLOCSET_DEFAULT_SIZES);
}

TupleTableSlot *execute_scan(CustomScanState *node) {
    Scan &scan = scan_of(node);
    ExprContext *context = node->ss.ps.ps_ExprContext;
    ProjectionInfo *projection = node->ss.ps.ps_ProjInfo;
    begin_run(scan);
    for (;;) {
        CHECK_FOR_INTERRUPTS();
        ResetExprContext(context);
        TupleTableSlot *row = next_row(scan);
        if (row == nullptr)
            return ExecClearTuple(projection != nullptr ? node->ss.ps.ps_ResultTupleSlot : node->ss.ss_ScanTupleSlot);
        context->ecxt_scantuple = row;
        if (ExecQual(node->ss.ps.qual, context)) {
            scan.given_in_run++;
            return projection != nullptr ? ExecProject(projection) : row;
        }
        InstrCountFiltered1(node, 1);
    }
}

void end_scan(CustomScanState *node) {
    Scan &scan = scan_of(node);
    if (scan.calls != nullptr) {
        drop_rows(scan);
        scan.calls->close();
        scan.calls = nullptr;
    }
    ExecEndNode(below(scan));
}

void rescan(CustomScanState *node) {
    Scan &scan = scan_of(node);
    if (scan.calls != nullptr)
        drop_rows(scan);
    scan.is_over = false;
    scan.handed_out = scan.given_up = 0;
    if (below(scan)->chgParam == nullptr)
        ExecReScan(below(scan));
}

// The executor stops, perhaps for a while. What was begun is given up; the rows stay.
void shut_down(CustomScanState *node) {
    Scan &scan = scan_of(node);
    if (scan.calls == nullptr)
        return;
    take_back(scan);
    for (std::uint32_t i = 0; i < scan.count; i++) {
        Row &row = row_at(scan, i);
        scan.given_up += retire_calls(scan, row) ? 1 : 0;
        std::fill_n(row.are_null, scan.asked_count, false);
        row.begun = 0;
        row.holds_others = false;
        row.equal_to = 0;
    }
    scan.next = 0;
}

void explain_scan(CustomScanState *node, List *ancestors, ExplainState *state) {
    const Scan &scan = scan_of(node);
    const auto *plan = reinterpret_cast<const CustomScan *>(node->ss.ps.plan);
    List *context = set_deparse_context_plan(state->deparse_cxt, node->ss.ps.plan, ancestors);
    const bool names_tables = list_length(state->rtable) > 1 || state->verbose;
    List *texts = NIL;
    ListCell *cell;
    foreach (cell, plan->custom_exprs)
        texts = lappend(texts, deparse_expression(static_cast<Node *>(lfirst(cell)), context, names_tables, false));
    ExplainPropertyList("Asks Ahead", texts, state);
    if (!state->analyze)
        return;
    const session::ahead::Sums sums = scan.calls != nullptr ? scan.calls->sums() : session::ahead::Sums();
    ExplainPropertyInteger("Calls at Once", nullptr, sums.most_at_once, state);
    ExplainPropertyInteger("Calls Begun", nullptr, static_cast<int64>(sums.begun), state);
    ExplainPropertyInteger("Calls Taken", nullptr, static_cast<int64>(sums.taken), state);
    ExplainPropertyInteger("Calls in Vain", nullptr, static_cast<int64>(sums.in_vain), state);
}

const CustomExecMethods kExecMethods = {
    .CustomName = kName,
    .BeginCustomScan = begin_scan,
    .ExecCustomScan = execute_scan,
    .EndCustomScan = end_scan,
    .ReScanCustomScan = rescan,
    .MarkPosCustomScan = nullptr,
    .RestrPosCustomScan = nullptr,
    .EstimateDSMCustomScan = nullptr,
    .InitializeDSMCustomScan = nullptr,
    .ReInitializeDSMCustomScan = nullptr,
    .InitializeWorkerCustomScan = nullptr,
    .ShutdownCustomScan = shut_down,
    .ExplainCustomScan = explain_scan,
};

Node *create_state(CustomScan *) {
    auto *scan = static_cast<Scan *>(palloc0(sizeof(Scan)));
    scan->node.ss.ps.type = T_CustomScanState;
    scan->node.methods = &kExecMethods;
    return reinterpret_cast<Node *>(scan);
}

}  // namespace

const CustomScanMethods kScanMethods = {kName, create_state};

bool depends_on_answers(const CustomScan &scan, int call) {
    return needs_of(list_length(outerPlan(&scan)->targetlist),
                    static_cast<const FuncExpr *>(list_nth(scan.custom_exprs, call)),
                    static_cast<Expr *>(list_nth(read_reading(scan.custom_private).guards, call))) != NIL;
}

RowsRead read_rows(CustomScanState *node, const ReadUpTo &up_to,
                   void (*see)(void *context, int number, const Function &function, FunctionCallInfo call),
                   void *context) {
    constexpr std::int64_t kLookAtClockEvery = 256;
    Scan &scan = scan_of(node);
    RowsRead read{0, false};
    const auto is_told = [&] {
        return read.rows < up_to.told_at_least ||
               (read.rows < up_to.told_at_most && core::monotonic_us() < up_to.told_until_us);
    };
    for (bool tells = true; tells || read.rows % kLookAtClockEvery != 0 || core::monotonic_us() < up_to.read_until_us;
         read.rows++) {
        CHECK_FOR_INTERRUPTS();
        TupleTableSlot *row = read_row(scan);
        if (row == nullptr)
            return {read.rows, true};
        tells = tells && is_told();
        if (!tells)
            continue;
        scan.context->ecxt_scantuple = show(scan, row);
        for (int i = 0; i < scan.asked_count; i++) {
            const Asked &asked = scan.asked[i];
            if (asked.needs != NIL)  // nobody knows before it has been asked
                continue;
            const bool makes = is_made(scan, asked);
            if (makes)
                evaluate_arguments(scan, asked);
            see(context, i, *asked.function, makes ? asked.call : nullptr);
            ResetExprContext(scan.context);
        }
    }
    return read;
}

void register_scan() { RegisterCustomScanMethods(&kScanMethods); }

}  // namespace steadytext::planner
