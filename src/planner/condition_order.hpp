// The order in which a node evaluates its conditions: conditions without calls first, then of conditions with calls the condition that drops more rows
// for its time.
//
// How many rows a condition drops, and how long its calls take, is as the role's earlier calls of the same question have shown
// (src/session/answer_counts.hpp). Where that is not known, the order stays as it is. A condition stays behind a condition that may raise an
// error by something other than its calls; and comes before another only if both are about the same text, and it takes NULL, so that
// it refuses no text that the other would have kept from it.
//
// Called by reorder.cpp. Regime: pg.
#pragma once

#include "src/planner/harmless.hpp"

namespace steadytext::planner {

// May be the same list.
[[nodiscard]] List *in_order(List *conditions, const Ground &ground);

// The share of rows of which the condition is true, which makes one call, as far as the role's calls have shown; negative: not known.
[[nodiscard]] double share_met(Node *condition);

// Nothing but the calls in the expression may raise an error, or change something.
[[nodiscard]] bool is_harmless_but_for_calls(const void *expression, const Ground &ground);

}  // namespace steadytext::planner
