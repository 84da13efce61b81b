// What the SQL functions that generate have in common: the answer to their request, begun ahead of its turn or not.
//
// Used by generate.cpp, structured.cpp and operators.cpp. Regime: pg. `kRequest` reads the function's arguments.
#pragma once

#include "src/functions/ahead_functions.hpp"
#include "src/session/answer_counts.hpp"
#include "src/session/generation.hpp"

#include <new>

namespace steadytext::functions {

using RequestOf = session::GenerationRequest (*)(FunctionCallInfo);
using ValueOf = Datum (*)(FunctionCallInfo, std::string_view);

template <RequestOf kRequest>
session::ModelCall *begin_ahead(FunctionCallInfo call) {
    return session::begin_generation(kRequest(call), *new (palloc(sizeof(session::Generation))) session::Generation);
}

// The prompt is the first argument.
inline session::ahead::Foreseen foresee_prompt(FunctionCallInfo call) {
    return foreseen(core::rules::kPrompt, pg::text_argument(call, 0));
}

// Asks now.
inline Datum answer(FunctionCallInfo fcinfo, const session::GenerationRequest &request, ValueOf value) {
    session::Generation generation;
    session::generate(request, generation);
    if (generation.is_null)
        PG_RETURN_NULL();
    return value(fcinfo, generation.text);
}

inline Datum answer(FunctionCallInfo fcinfo, const session::GenerationRequest &request,
                    const session::ahead::Function &function) {
    session::Generation generation;
    session::generate(request, generation);
    if (generation.is_null)
        PG_RETURN_NULL();
    session::note_answer(function, fcinfo, generation.text);
    return function.value(fcinfo, generation.text);
}

// Takes the answer that was begun ahead, or asks now.
template <RequestOf kRequest>
Datum answer(FunctionCallInfo fcinfo, const session::ahead::Function &function) {
    if (Datum taken; session::ahead::take(function, fcinfo, taken, fcinfo->isnull))
        return taken;
    return answer(fcinfo, kRequest(fcinfo), function);
}

}  // namespace steadytext::functions
