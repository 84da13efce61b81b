// The calls that a scan of read-ahead asks for: which of them a row makes, with which arguments, and when they can be begun.
//
// Made and used by read_ahead_scan.cpp. Regime: pg. Plain data in the memory of the plan's execution.
//
// The calls of a row are begun in the order in which the executor makes them. Whether a call is made is told by guards
// (collect_calls.hpp), each of which is evaluated once for a row. A guard, and the text of a call, may depend on what
// calls before it come to: then the row waits until they have been answered.
#pragma once

#include "src/planner/read_ahead.hpp"

namespace steadytext::planner {

// The calls of a row that was read ahead.
struct CallsOfRow {
    session::ahead::Begun **begun;  // as many as are asked; null: not begun, or taken, or retired, or
    bool *are_null;                 // its value is NULL for certain, or it is not made
    std::uint8_t *guards;           // of each: AskedCalls::Guard::Known
    int looked_at;                  // calls that were begun or are not to be
    bool holds_others;              // a call would be refused
    std::uint64_t equal_to;         // a call under way that the next call of the row equals; 0: none
};

enum class Progress : std::uint8_t {
    Done,   // all calls of the row have been looked at
    Waits,  // the next call depends on another's answer
    Stops,  // no call is to be begun now
};

class AskedCalls {
public:
    // In CurrentMemoryContext, over rows of the scan's own slot.
    AskedCalls(CustomScanState &node, const CustomScan &plan);

    [[nodiscard]] int count() const { return count_; }
    [[nodiscard]] bool are_embeddings() const { return are_embeddings_; }
    // Columns of the rows from below; behind them are the values of calls.
    [[nodiscard]] int columns() const { return columns_; }

    [[nodiscard]] CallsOfRow make_row() const;
    void free_row(CallsOfRow &row) const;
    // As if nothing had been begun.
    void reset_row(CallsOfRow &row) const;

    [[nodiscard]] bool are_looked_at(const CallsOfRow &row) const { return row.looked_at == count_; }
    // Whether the next call of the row waits for another's answer.
    [[nodiscard]] bool awaits_answer(const CallsOfRow &row, const session::ahead::Calls &calls) const;

    // The row whose calls are looked at: whoever fills it in calls these for it until the next.
    [[nodiscard]] TupleTableSlot *slot() const { return slot_; }
    struct Turn {
        session::ahead::Calls &calls;
        std::uint32_t room;  // calls that may be under way
        bool is_first;       // of the rows that wait
        bool is_in_order;    // all calls of the rows before it have been looked at
        bool &has_stopped;   // set if no calls are to be begun any more
    };
    [[nodiscard]] Progress begin(CallsOfRow &row, const Turn &turn) const;

    // Tells of each call of the row that depends on no answer; null: the row does not make it.
    void tell(void (*see)(void *context, int number, const session::ahead::Function &function, FunctionCallInfo call),
              void *context) const;

private:
    struct Asked;
    struct Guard;
    enum class Known : std::uint8_t { Open, Holds, Fails, Unknown };

    void add(Asked &asked, const FuncExpr *call, CustomScanState &node) const;
    [[nodiscard]] bool has_ended(const CallsOfRow &row, const List *needs) const;
    [[nodiscard]] bool show_values(const CallsOfRow &row, const List *needs) const;
    [[nodiscard]] Known settle(const CallsOfRow &row, int guard) const;
    [[nodiscard]] Known test(const CallsOfRow &row, const Guard &guard) const;
    void evaluate_arguments(const Asked &asked) const;
    [[nodiscard]] bool begin_call(CallsOfRow &row, const Turn &turn, Progress &progress) const;
    void leave_to_functions(CallsOfRow &row) const;

    int count_ = 0, guard_count_ = 0, columns_ = 0;
    Asked *asked_ = nullptr;
    Guard *guards_ = nullptr;
    int *path_ = nullptr;  // room for a guard and all above it
    bool has_needs_ = false, are_embeddings_ = true;
    ExprContext *context_ = nullptr;
    TupleTableSlot *slot_ = nullptr;
};

// Numbers of the calls of a scan, by the columns of their values behind the first `columns`, that an expression names.
[[nodiscard]] List *calls_needed(const void *expression, int columns);

}  // namespace steadytext::planner
