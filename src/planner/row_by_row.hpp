// Calls that a plan makes row by row, and why: for EXPLAIN and steadytext_explain().
//
//   place_scans.cpp      notes each call that it leaves to its turn, with the reason, while a plan is explained
//   read_ahead_plan.cpp  puts them into words when the plan is finished
//   row_by_row.cpp       prints them under EXPLAIN
//
// Regime: pg. Nothing is noted while nobody asks.
#pragma once

#include "src/planner/harmless.hpp"

extern "C" {
#include "nodes/parsenodes.h"
#include "nodes/plannodes.h"
}

namespace steadytext::planner {

struct RowByRow {
    const Plan *plan;      // that makes the call
    const FuncExpr *call;  // in the plan's terms
    const char *reason;
    const char *text = nullptr;  // of the call, once it is in words
};

// Notes on the plan of a statement.
struct Noted {
    const Query *query;
    List *calls = NIL;
    bool reads_ahead = false;  // whatever the setting says
};

// Until told otherwise; returns who was told before.
Noted *tell(Noted *noted);
// Null: nobody asks about this statement.
[[nodiscard]] Noted *told_of(const Query *query);

// All calls of the expressions that are not in `asked`, a list of nodes. Without a reason, each for its own.
void note(List *&calls, const Plan *plan, const List *expressions, const List *asked, const char *reason,
          const Ground &ground);
// All calls of a node.
void note_all(List *&calls, const Plan *plan, const char *reason, const Ground &ground);

// "now() might raise an error"; null if there is no culprit.
[[nodiscard]] const char *blame(const Node *culprit);

void put_into_words(Noted &noted, const PlannedStmt &statement);

void install_row_by_row();

}  // namespace steadytext::planner
