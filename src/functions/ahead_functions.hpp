// The functions whose calls can be begun ahead of their turn (src/session/ahead.hpp).
//
// Called by _PG_init, and by the functions. Regime: pg.
#pragma once

#include "src/pg/text.hpp"
#include "src/session/ahead.hpp"
#include "src/session/arguments.hpp"

namespace steadytext::functions {

extern const session::ahead::Function kGenerateAhead;
extern const session::ahead::Function kEmbedAhead;
extern const session::ahead::Function kJsonAhead;
extern const session::ahead::Function kWrittenJsonAhead;
extern const session::ahead::Function kRegexAhead;
extern const session::ahead::Function kChoiceAhead;
extern const session::ahead::Function kIfAhead;
extern const session::ahead::Function kClassifyAhead;
extern const session::ahead::Function kClassifyAllAhead;
extern const session::ahead::Function kScoreAhead;

// Whether a call with this argument is made, by the rule for it.
[[nodiscard]] inline session::ahead::Foreseen foreseen(const core::Rule &rule, const core::TextArgument &text) {
    return session::meets(rule, text) ? session::ahead::Foreseen::Asks : session::ahead::Foreseen::Raises;
}
[[nodiscard]] inline Datum text_of(FunctionCallInfo, std::string_view answer) { return pg::text_datum(answer); }

inline const session::ahead::Function *const kAheadFunctions[] = {
    &kGenerateAhead, &kEmbedAhead, &kJsonAhead,     &kWrittenJsonAhead, &kRegexAhead,
    &kChoiceAhead,   &kIfAhead,    &kClassifyAhead, &kClassifyAllAhead, &kScoreAhead,
};

}  // namespace steadytext::functions
