// Read-ahead: calls of a statement's later rows are asked while its earlier rows are answered.
// docs/read-ahead.md is for users.
//
//   planner hook (read_ahead_plan.cpp)    puts a custom scan under the first node that makes calls for each of its rows
//                                         (collect_calls.hpp)
//   custom scan (read_ahead_scan.cpp)     takes rows from below before they are asked for, and begins their calls
//   the functions (src/functions)         are evaluated by the executor as ever, and take the calls that were begun
//                                         (src/session/ahead.hpp)
//
// A plan gives the same rows with the custom scan and without it, in the same order, and the same errors. So only
// such calls are begun as are certain to be made for each row, and only over plans whose rows can be read early without
// anybody noticing (calm.hpp).
//
// Called by _PG_init. Regime: pg.
#pragma once

#include "src/pg/postgres.hpp"
#include "src/session/ahead.hpp"

extern "C" {
#include "nodes/execnodes.h"
#include "nodes/plannodes.h"
}

#include <span>

namespace steadytext::planner {

// `functions`: their calls can be begun ahead.
void install_read_ahead(std::span<const session::ahead::Function *const> functions);

// ---- between plan and scan ------------------------------------------------------------------------------------------

extern const CustomScanMethods kScanMethods;
void register_scan();

// The scan's custom_private. `custom_exprs` are the calls, over the rows from below and the values of calls before them,
// which are further columns (collect_calls.hpp).
struct Reading {
    bool is_whole;       // all rows from below are wanted, unless the statement as a whole is not run to its end
    bool is_top;         // its rows are the statement's
    std::int64_t most;   // rows that are wanted; 0: no limit
    int processes;       // that share the work
    bool are_all_calls;  // the statement makes no other calls
    // The conditions on a row under which calls are made. A guard is true if its parent is (-1: it has none), and its test.
    List *tests, *parents;
    List *guards;  // for each call, the number of its guard; -1: each row makes it
};
// The plan of a statement, with the scans of read-ahead whatever the setting says, and without parallel workers. And the
// calls that it makes row by row (row_by_row.hpp).
[[nodiscard]] PlannedStmt *plan_with_calls(Query *query, const char *text, List *&row_by_row);

// Whether a call of the scan, or its text, depends on the answers to others of the row.
[[nodiscard]] bool depends_on_answers(const CustomScan &scan, int call);

// For steadytext_explain(): how many of a scan's rows are read, and of how many of them the calls are told (null: the row
// makes none), but of calls that depend on answers. Times are CLOCK_MONOTONIC's.
struct ReadUpTo {
    std::int64_t told_at_least, told_at_most;  // rows; between the two, until told_until_us
    std::int64_t told_until_us, read_until_us;
};
struct RowsRead {
    std::int64_t rows;
    bool is_all;
};
[[nodiscard]] RowsRead read_rows(CustomScanState *node, const ReadUpTo &up_to,
                                 void (*see)(void *context, int number, const session::ahead::Function &function,
                                             FunctionCallInfo call),
                                 void *context);

[[nodiscard]] List *write_reading(const Reading &reading);
[[nodiscard]] Reading read_reading(const List *list);

}  // namespace steadytext::planner
