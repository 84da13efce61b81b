// Several questions whose answers are wanted all together: as many at once as the daemons work on.
//
// Called by condensing.cpp and src/functions/facts.cpp. Regime: pg. The first question that nobody answers ends the
// others, since without its answer they are of no use: steadytext.on_failure is obeyed once, for all.
#pragma once

#include "src/pg/postgres.hpp"
#include "src/core/problem.hpp"

#include <span>
#include <string_view>

namespace steadytext::session {

class ModelCall;

struct Questions {
    std::size_t count;
    // Begins the call of a question, in CurrentMemoryContext.
    ModelCall *(*begin)(const void *context, std::size_t index);
    const void *context;
    bool embeds = false;
};

enum class Replies {
    All,           // each question was answered
    None,          // the value is NULL: ANALYZE, a limit with steadytext.on_limit = null, steadytext.on_failure = null
    Fallback,      // something else is to be given instead of an answer
    BeyondWindow,  // a request was beyond the model's window; nothing was said about it yet
};

// `answers`: a text, or floats, for each question, in CurrentMemoryContext. Raises as the calls do, and if a fallback
// is not wanted. `problem` is set for BeyondWindow.
[[nodiscard]] Replies ask_all(const Questions &questions, std::span<std::string_view> answers, core::Problem &problem);

// As steadytext.on_failure says. Raises, or None or Fallback.
[[nodiscard]] Replies without_answer(const core::Problem &problem);

}  // namespace steadytext::session
