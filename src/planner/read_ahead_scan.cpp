// The custom scan: reads rows before they are asked for and begins their calls. See read_ahead.hpp. Regime: pg.
//
//   below ──▶ waiting rows (a ring) ──▶ the first, when its calls have ended ──▶ quals, target list ──▶ above
//                  │ calls begun, in order
//                  ▼
//             session::ahead
//
// It begins a row's calls in their order, and only after the calls of all rows before it; but a call that depends on the value
// of another waits until that is answered, and lets the calls of the rows behind it go first. A row with a call that would
// be refused holds back the rows behind it until it has been handed out: so errors come in their order. Where limits bind the calls, a call is
// begun only if it is certain to be made, and in its order; a call that is to be made later is tried again until its row is
// the first, and then left to the function. The scan sleeps, and hands on rows as
// they come, while the cache has the answers; a request that a function has to make by itself wakes it.
#include "src/pg/compat.hpp"
#include "src/planner/asked_calls.hpp"
#include "src/core/clock.hpp"
#include "src/session/pending_slot.hpp"
#include "src/session/statement.hpp"
#include "src/pg/nodes.hpp"

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
constexpr int kMaxExplained = 50;               // calls, each with those within it
constexpr std::uint32_t kVainToStop = 16;       // rows in sequence whose calls nobody took

struct Row {
    MinimalTuple tuple;
    CallsOfRow calls;
};

// The node's state, made by PostgreSQL's rules: zeroed, CustomScanState first.
struct Scan {
    CustomScanState node;
    Reading reading;
    bool has_quals;
    AskedCalls *asked;
    MemoryContext memory;  // of rows
    Calls *calls;          // null: none yet
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

// The same columns in a slot of the scan, valid as long as they are where they came from.
TupleTableSlot *show(const Scan &scan, TupleTableSlot *row, TupleTableSlot *slot) {
    slot_getallattrs(row);
    ExecClearTuple(slot);
    const auto columns = static_cast<std::size_t>(scan.asked->columns());
    memcpy(slot->tts_values, row->tts_values, columns * sizeof(Datum));
    memcpy(slot->tts_isnull, row->tts_isnull, columns * sizeof(bool));
    for (int i = scan.asked->columns(); i < slot->tts_tupleDescriptor->natts; i++)
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
    kept = {ExecCopySlotMinimalTuple(row), scan.asked->make_row()};
    scan.bytes += kept.tuple->t_len;
    MemoryContextSwitchTo(caller);
}

// True if there was a call that no function had taken.
bool retire_calls(Scan &scan, Row &row) {
    bool any = false;
    for (int i = 0; i < scan.asked->count(); i++) {
        if (row.calls.begun[i] == nullptr)
            continue;
        scan.calls->retire(*row.calls.begun[i]);
        any = true;
    }
    return any;
}

void drop_row(Scan &scan, Row &row) {
    if (row.tuple == nullptr)
        return;
    (void)retire_calls(scan, row);
    scan.bytes -= row.tuple->t_len;
    scan.asked->free_row(row.calls);
    pfree(row.tuple);
    row = {};
}

// ---- calls ----------------------------------------------------------------------------------------------------------

// How many calls may be under way at once.
std::uint32_t room(const Scan &scan) {
    return std::max(scan.calls->room() / static_cast<std::uint32_t>(scan.reading.processes), 1U);
}

// Begins calls of the row that are not begun yet, until a call waits for another's answer, or there is no room.
Progress begin_row(Scan &scan, std::uint32_t place) {
    Row &row = row_at(scan, place);
    if (scan.asked->are_looked_at(row.calls))
        return Progress::Done;
    if (scan.asked->awaits_answer(row.calls, *scan.calls))
        return Progress::Waits;
    show(row.tuple, scan.asked->slot());
    return scan.asked->begin(row.calls, {.calls = *scan.calls,
                                         .room = room(scan),
                                         .is_first = place == 0,
                                         .is_in_order = place == scan.next,
                                         .has_stopped = scan.has_stopped});
}

// Begins calls of waiting rows, as many as there is room for. False if calls of a further row are not to be begun now.
bool begin_calls(Scan &scan) {
    for (std::uint32_t place = scan.next; place < scan.count; place++) {
        CHECK_FOR_INTERRUPTS();
        if (place > 0 && row_at(scan, place - 1).calls.holds_others)
            return false;
        const Progress progress = begin_row(scan, place);
        if (progress == Progress::Stops || (progress == Progress::Waits && scan.calls->are_limited()))
            return false;
        if (progress == Progress::Done && place == scan.next)
            scan.next++;
    }
    return true;
}

// Of the calls that have been begun.
bool have_ended(const Scan &scan, const Row &row) {
    for (int i = 0; i < scan.asked->count(); i++)
        if (row.calls.begun[i] != nullptr && !Calls::has_ended(*row.calls.begun[i]))
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
           (scan.count == 0 || !row_at(scan, scan.count - 1).calls.holds_others);
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
    for (int i = 0; i < scan.asked->count(); i++) {
        if (row.calls.are_null[i])
            continue;
        any = true;
        all = all && row.calls.begun[i] != nullptr && Calls::was_recalled(*row.calls.begun[i]);
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
    for (int i = 0; i < scan.asked->count(); i++)
        if (scan.current.calls.begun[i] != nullptr)
            scan.calls->offer(*scan.current.calls.begun[i]);
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
        scan.calls =
            Calls::make(scan.node.ss.ps.state->es_query_cxt, scan.asked->are_embeddings(), scan.reading.are_all_calls);
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
    return show(scan, row, scan.node.ss.ss_ScanTupleSlot);
}

// Whether calls of the first row can be begun that could not be before: the calls that they depend on were answered at
// once, from the cache.
bool can_go_on(const Scan &scan) {
    const CallsOfRow &first = row_at(scan, 0).calls;
    return !scan.asked->are_looked_at(first) && !scan.asked->awaits_answer(first, *scan.calls) &&
           scan.calls->under_way() < room(scan);
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
            (have_ended(scan, row_at(scan, 0)) && (!is_ahead || scan.asked->are_looked_at(row_at(scan, 0).calls))))
            break;
        if (!is_ahead || !can_go_on(scan))
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

void begin_scan(CustomScanState *node, EState *state, int flags) {
    Scan &scan = scan_of(node);
    const auto *plan = reinterpret_cast<const CustomScan *>(node->ss.ps.plan);
    outerPlanState(&node->ss.ps) = ExecInitNode(outerPlan(plan), state, flags & ~(EXEC_FLAG_BACKWARD | EXEC_FLAG_MARK));
    scan.reading = read_reading(plan->custom_private);
    scan.has_quals = plan->scan.plan.qual != NIL;
    scan.asked = new (palloc(sizeof(AskedCalls))) AskedCalls(*node, *plan);
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

// The executor stops, perhaps for a while. Calls that were begun are given up; the rows stay.
void shut_down(CustomScanState *node) {
    Scan &scan = scan_of(node);
    if (scan.calls == nullptr)
        return;
    take_back(scan);
    for (std::uint32_t i = 0; i < scan.count; i++) {
        Row &row = row_at(scan, i);
        scan.given_up += retire_calls(scan, row) ? 1 : 0;
        scan.asked->reset_row(row.calls);
    }
    scan.next = 0;
}

void explain_scan(CustomScanState *node, List *ancestors, ExplainState *state) {
    const Scan &scan = scan_of(node);
    const auto *plan = reinterpret_cast<const CustomScan *>(node->ss.ps.plan);
    List *context = set_deparse_context_plan(state->deparse_cxt, node->ss.ps.plan, ancestors);
    const bool names_tables = list_length(state->rtable) > 1 || state->verbose;
    List *texts = NIL;
    for (Node *each : pg::each<Node>(plan->custom_exprs)) {
        if (list_length(texts) == kMaxExplained) {
            texts = lappend(texts, psprintf("and %d more", list_length(plan->custom_exprs) - kMaxExplained));
            break;
        }
        texts = lappend(texts, deparse_expression(each, context, names_tables, false));
    }
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
    const int columns = list_length(outerPlan(&scan)->targetlist);
    const Reading reading = read_reading(scan.custom_private);
    if (calls_needed(list_nth(scan.custom_exprs, call), columns) != NIL)
        return true;
    for (int guard = list_nth_int(reading.guards, call); guard >= 0; guard = list_nth_int(reading.parents, guard))
        if (calls_needed(list_nth(reading.tests, guard), columns) != NIL)
            return true;
    return false;
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
        show(scan, row, scan.asked->slot());
        scan.asked->tell(see, context);
    }
    return read;
}

void register_scan() { RegisterCustomScanMethods(&kScanMethods); }

}  // namespace steadytext::planner
