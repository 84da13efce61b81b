// Functions of PostgreSQL that raise nothing and change nothing, whatever the row; some of them with certain constants only.
//
// Called by harmless.cpp. Regime: pg. Doubt is "no".
#pragma once

#include "src/planner/harmless.hpp"

namespace steadytext::planner {

// With these arguments, which are harmless themselves. The collation is known, and deterministic. A long look is charged to the
// ground's looks.
[[nodiscard]] bool is_harmless_call(Oid function, const List *arguments, Oid collation, const Ground &ground);
// Of any two values.
[[nodiscard]] bool is_harmless_comparison(Oid function);
[[nodiscard]] bool is_harmless_aggregate(Oid function);
[[nodiscard]] bool is_harmless_over_windows(Oid function);

// The time of the transaction or the statement, or the date.
[[nodiscard]] bool is_time(const Node *node);

// A value of such a type always has a text.
[[nodiscard]] bool has_plain_text(Oid type);

}  // namespace steadytext::planner
