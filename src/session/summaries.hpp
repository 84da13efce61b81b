// States of summaries in PostgreSQL: in a memory context, as jsonb, and the text that a model makes of one.
//
// Called by src/functions/summaries.cpp. Regime: pg. What a state is: src/core/summary_state.hpp. A jsonb may come from
// anywhere, an older state of the PL/Python original's among others: what a state cannot have is an error (22023) that
// names it, members that are no part of a state are left out.
#pragma once

#include "src/pg/postgres.hpp"
#include "src/core/rules.hpp"
#include "src/core/summary_state.hpp"

extern "C" {
#include "utils/jsonb.h"
}

namespace steadytext::session {

// An empty state; all its memory is the context's, and goes with it.
[[nodiscard]] core::SummaryState *make_summary(MemoryContext context);

// Adds what the jsonb tells. `is_own`: this extension wrote it, so its instruction counts too.
void add_state(core::SummaryState &state, Jsonb *told, bool is_own = false);
// A row's value and metadata. Without a value the metadata is left out too.
void add_row(core::SummaryState &state, const core::TextArgument &value, Jsonb *metadata);
void merge(core::SummaryState &state, const core::SummaryState &other);

// The state as JSON in UTF-8, valid until the next call; and as jsonb.
[[nodiscard]] std::string_view state_text(const core::SummaryState &state);
[[nodiscard]] Jsonb *state_jsonb(const core::SummaryState &state);
// JSON in UTF-8 as jsonb.
[[nodiscard]] Jsonb *parsed(std::string_view json);

// The answer of the model; null: NULL. Raises as a call does.
[[nodiscard]] core::TextArgument summarized(const core::SummaryState &state);
// The same by the state's own instruction; null also if there is nothing to be asked about.
[[nodiscard]] core::TextArgument answered(const core::SummaryState &state);
// A text as it is, with its metadata; the model is that of the arguments.
[[nodiscard]] core::TextArgument summarized(std::string_view text, Jsonb *metadata, const core::TextArgument &model,
                                            bool unsafe_mode);

}  // namespace steadytext::session
