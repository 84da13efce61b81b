// Guards, values and arguments of a row's calls: see asked_calls.hpp. Regime: pg.
#include "src/pg/tree_walk.hpp"
#include "src/planner/asked_calls.hpp"
#include "src/planner/find_calls.hpp"

extern "C" {
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
}

#include <algorithm>

namespace steadytext::planner {

using session::ahead::Begun;
using session::ahead::Calls;
using session::ahead::Function;

struct AskedCalls::Asked {
    const Function *function;
    FunctionCallInfo call;  // filled in row by row
    ExprState **arguments;
    int guard;       // -1: each row makes it
    List *needs;     // calls before it whose values its text depends on
    bool is_needed;  // another call depends on it
    bool is_proven;  // its other arguments are good: a call of it has been begun
};

// True if its parent is, and its test.
struct AskedCalls::Guard {
    int parent;  // before it; -1: none
    ExprState *test;
    List *needs;  // calls whose values the test depends on
};

namespace {

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

}  // namespace

List *calls_needed(const void *expression, int columns) {
    Needs needs{columns, NIL};
    (void)find_needs(static_cast<Node *>(const_cast<void *>(expression)), &needs);
    return needs.calls;
}

// ---- the scan's -----------------------------------------------------------------------------------------------------

AskedCalls::AskedCalls(CustomScanState &node, const CustomScan &plan) {
    const Reading reading = read_reading(plan.custom_private);
    columns_ = list_length(outerPlan(&plan)->targetlist);
    context_ = CreateExprContext(node.ss.ps.state);
    slot_ = ExecInitExtraTupleSlot(node.ss.ps.state, node.ss.ss_ScanTupleSlot->tts_tupleDescriptor, &TTSOpsVirtual);
    context_->ecxt_scantuple = slot_;

    guard_count_ = list_length(reading.tests);
    guards_ = static_cast<Guard *>(palloc0(static_cast<std::size_t>(guard_count_) * sizeof(Guard)));
    for (int i = 0; i < guard_count_; i++) {
        auto *test = static_cast<Expr *>(list_nth(reading.tests, i));
        guards_[i] = {list_nth_int(reading.parents, i), ExecInitExpr(test, &node.ss.ps), calls_needed(test, columns_)};
        Assert(guards_[i].parent < i);
    }
    path_ = static_cast<int *>(palloc((static_cast<std::size_t>(guard_count_) + 1) * sizeof(int)));
    count_ = list_length(plan.custom_exprs);
    asked_ = static_cast<Asked *>(palloc0(static_cast<std::size_t>(count_) * sizeof(Asked)));
    for (int i = 0; i < count_; i++) {
        add(asked_[i], static_cast<const FuncExpr *>(list_nth(plan.custom_exprs, i)), node);
        asked_[i].guard = list_nth_int(reading.guards, i);
        are_embeddings_ = are_embeddings_ && asked_[i].function->kind == shmem::CallKind::Embed;
    }
    const auto need = [this](const List *needs) {
        ListCell *cell;
        foreach (cell, needs)
            asked_[lfirst_int(cell)].is_needed = has_needs_ = true;
    };
    for (int i = 0; i < count_; i++)
        need(asked_[i].needs);
    for (int i = 0; i < guard_count_; i++)
        need(guards_[i].needs);
}

void AskedCalls::add(Asked &asked, const FuncExpr *call, CustomScanState &node) const {
    asked.function = function_of(call->funcid);
    if (asked.function == nullptr)
        elog(ERROR, "function %u of a plan is not known any more", call->funcid);
    const int count = list_length(call->args);
    asked.call = static_cast<FunctionCallInfo>(palloc0(SizeForFunctionCallInfo(count)));
    asked.call->nargs = static_cast<short>(count);
    asked.arguments = static_cast<ExprState **>(palloc0(static_cast<std::size_t>(count) * sizeof(ExprState *)));
    for (int i = 0; i < count; i++)
        asked.arguments[i] = ExecInitExpr(static_cast<Expr *>(list_nth(call->args, i)), &node.ss.ps);
    asked.needs = calls_needed(call->args, columns_);
}

// ---- a row's --------------------------------------------------------------------------------------------------------

CallsOfRow AskedCalls::make_row() const {
    const auto count = static_cast<std::size_t>(count_);
    return {static_cast<Begun **>(palloc0(count * sizeof(Begun *))),
            static_cast<bool *>(palloc0(count)),
            static_cast<std::uint8_t *>(palloc0(static_cast<std::size_t>(guard_count_) + 1)),
            0,
            false,
            0};
}

void AskedCalls::free_row(CallsOfRow &row) const {
    pfree(row.begun);
    pfree(row.are_null);
    pfree(row.guards);
    row = {};
}

void AskedCalls::reset_row(CallsOfRow &row) const {
    std::fill_n(row.are_null, count_, false);
    std::fill_n(row.guards, guard_count_, static_cast<std::uint8_t>(Known::Open));
    row.looked_at = 0;
    row.holds_others = false;
    row.equal_to = 0;
}

bool AskedCalls::has_ended(const CallsOfRow &row, const List *needs) const {
    ListCell *cell;
    foreach (cell, needs)
        if (const Begun *call = row.begun[lfirst_int(cell)]; call != nullptr && !Calls::has_ended(*call))
            return false;
    return true;
}

// A guard is looked at once the guards above it are known: so an answer that another guard waits for is waited for.
bool AskedCalls::awaits_answer(const CallsOfRow &row, const Calls &calls) const {
    if (row.equal_to != 0 && calls.is_equal_under_way(row.equal_to))
        return true;
    const Asked &asked = asked_[row.looked_at];
    for (int guard = asked.guard; guard >= 0; guard = guards_[guard].parent) {
        if (row.guards[guard] != static_cast<std::uint8_t>(Known::Open))
            break;
        if (!has_ended(row, guards_[guard].needs))
            return true;
    }
    return !has_ended(row, asked.needs);
}

// Puts the values into the slot. False if a value is not known before its turn.
bool AskedCalls::show_values(const CallsOfRow &row, const List *needs) const {
    MemoryContext caller = MemoryContextSwitchTo(context_->ecxt_per_tuple_memory);
    bool are_known = true;
    ListCell *cell;
    foreach (cell, needs) {
        const int number = lfirst_int(cell);
        bool &is_null = slot_->tts_isnull[columns_ + number];
        is_null = true;
        are_known =
            are_known && (row.are_null[number] ||
                          (row.begun[number] != nullptr &&
                           Calls::has_value(*row.begun[number], slot_->tts_values[columns_ + number], is_null)));
    }
    MemoryContextSwitchTo(caller);
    return are_known;
}

AskedCalls::Known AskedCalls::test(const CallsOfRow &row, const Guard &guard) const {
    if (!show_values(row, guard.needs))
        return Known::Unknown;
    bool is_null;
    const Datum holds = ExecEvalExprSwitchContext(guard.test, context_, &is_null);
    return !is_null && DatumGetBool(holds) ? Known::Holds : Known::Fails;
}

// From the highest guard that is not known down to this guard. Each is tested once for a row.
AskedCalls::Known AskedCalls::settle(const CallsOfRow &row, int guard) const {
    const auto known = [&](int number) { return number < 0 ? Known::Holds : static_cast<Known>(row.guards[number]); };
    int count = 0;
    for (; known(guard) == Known::Open; guard = guards_[guard].parent)
        path_[count++] = guard;
    Known result = known(guard);
    while (count > 0) {
        CHECK_FOR_INTERRUPTS();
        const int next = path_[--count];
        if (result == Known::Holds)
            result = test(row, guards_[next]);
        row.guards[next] = static_cast<std::uint8_t>(result);
    }
    return result;
}

void AskedCalls::evaluate_arguments(const Asked &asked) const {
    MemoryContext caller = MemoryContextSwitchTo(context_->ecxt_per_tuple_memory);
    for (int i = 0; i < asked.call->nargs; i++)
        asked.call->args[i].value = ExecEvalExpr(asked.arguments[i], context_, &asked.call->args[i].isnull);
    MemoryContextSwitchTo(caller);
}

// ---- beginning ------------------------------------------------------------------------------------------------------

// Leaves the row's calls that are not begun yet to the functions.
void AskedCalls::leave_to_functions(CallsOfRow &row) const {
    row.holds_others = true;
    row.looked_at = count_;
}

// Begins the next call of the row. False, with `progress`, if it is to be begun later.
bool AskedCalls::begin_call(CallsOfRow &row, const Turn &turn, Progress &progress) const {
    const int number = row.looked_at;
    const Asked &asked = asked_[number];
    const Known made = settle(row, asked.guard);
    if (made == Known::Fails) {
        row.are_null[row.looked_at++] = true;
        return true;
    }
    if (made == Known::Unknown || !show_values(row, asked.needs)) {
        leave_to_functions(row);
        return true;
    }
    evaluate_arguments(asked);
    switch (turn.calls.begin(*asked.function, asked.call,
                             {turn.is_in_order, has_needs_, asked.is_needed, asked.is_proven}, row.begun[number],
                             row.equal_to)) {
    case Calls::Beginning::Begun:
        asked_[number].is_proven = true;
        row.looked_at++;
        return true;
    case Calls::Beginning::AsksNothing:
        row.are_null[number] = true;
        [[fallthrough]];
    case Calls::Beginning::Needless:
        row.looked_at++;
        return true;
    case Calls::Beginning::Equal:
        progress = Progress::Waits;
        return false;
    case Calls::Beginning::Later:
        progress = Progress::Stops;
        if (!turn.is_first)
            return false;
        break;
    case Calls::Beginning::Never:
        turn.has_stopped = true;
        break;
    case Calls::Beginning::Refused:
        break;
    }
    leave_to_functions(row);
    return true;
}

Progress AskedCalls::begin(CallsOfRow &row, const Turn &turn) const {
    while (!are_looked_at(row)) {
        CHECK_FOR_INTERRUPTS();
        if (awaits_answer(row, turn.calls))
            return Progress::Waits;
        if (turn.calls.under_way() >= turn.room)
            return Progress::Stops;
        Progress progress = Progress::Done;
        const bool goes_on = begin_call(row, turn, progress);
        ResetExprContext(context_);
        if (!goes_on)
            return progress;
    }
    return Progress::Done;
}

void AskedCalls::tell(void (*see)(void *context, int number, const Function &function, FunctionCallInfo call),
                      void *context) const {
    CallsOfRow row = make_row();
    for (int i = 0; i < count_; i++) {
        if (asked_[i].needs != NIL)
            continue;  // nobody knows the text before others have been answered
        const Known made = settle(row, asked_[i].guard);
        if (made == Known::Unknown)
            continue;
        if (made == Known::Holds)
            evaluate_arguments(asked_[i]);
        see(context, i, *asked_[i].function, made == Known::Holds ? asked_[i].call : nullptr);
        ResetExprContext(context_);
    }
    free_row(row);
}

}  // namespace steadytext::planner
