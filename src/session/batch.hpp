// The same question about each text of an array, as many at once as the daemons work on: see docs/batch.md.
//
// Called by src/functions/batch.cpp. Regime: pg. Equal questions are asked once. Answers come in the order of the
// texts, after the last answer is there. Memory holds the texts, some fifty bytes for each text, and work_mem for the
// answers.
#pragma once

#include "src/pg/postgres.hpp"
#include "shmem/call_stats.hpp"
#include "src/core/rules.hpp"

#include <span>
#include <string_view>

namespace steadytext::session {

class ModelCall;

struct Batch {
    shmem::CallKind kind;
    const core::Rule *each;        // the rule for each text
    std::span<const Datum> texts;  // text values
    std::span<const bool> nulls;   // texts that are not asked about
    // Begins the call about a text, in CurrentMemoryContext; its key is wanted.
    ModelCall *(*begin)(const void *context, std::string_view text);
    const void *context;
};

struct BatchRow {
    std::size_t index;
    bool is_null;
    std::string_view answer;  // text, or floats
    bool cached;              // no daemon was asked for this row
    int took_ms;
};

// Raises on a bad text before any text is asked about; then as a single call would.
void run_batch(const Batch &batch, void (*emit)(void *context, const BatchRow &row), void *emit_context);

}  // namespace steadytext::session
