// The functions whose calls can be begun ahead of their turn (src/session/ahead.hpp).
//
// Called by _PG_init, and by the functions. Regime: pg.
#pragma once

#include "src/session/ahead.hpp"

namespace steadytext::functions {

extern const session::ahead::Function kGenerateAhead;
extern const session::ahead::Function kEmbedAhead;
extern const session::ahead::Function kJsonAhead;
extern const session::ahead::Function kWrittenJsonAhead;
extern const session::ahead::Function kRegexAhead;
extern const session::ahead::Function kChoiceAhead;

inline const session::ahead::Function *const kAheadFunctions[] = {
    &kGenerateAhead, &kEmbedAhead, &kJsonAhead, &kWrittenJsonAhead, &kRegexAhead, &kChoiceAhead,
};

}  // namespace steadytext::functions
