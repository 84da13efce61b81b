// JSON schemas (the part of draft 2020-12 that docs/structured.md lists): the texts that satisfy one, and whether one does.
//
// Called by the session (to check a schema, and an answer against it) and by steadytextd. Regime: pure (may throw std::bad_alloc).
//
// compile_schema() makes texts that satisfy the schema, not all of them: members come in the schema's order, white space is a
// blank at most, numbers have no exponent. check_document() takes whatever satisfies it, for other engines write otherwise.
// A keyword that would restrict a value and is not supported is refused; one that is unknown is ignored, as the standard says.
#pragma once

#include "src/core/constraint/network.hpp"
#include "src/core/problem.hpp"

namespace steadytext::core::constraint {

// The finished network of documents. False, with the problem: 22023 for what is no schema, 0A000 for an unsupported keyword,
// 54000 for one that is too large, or takes more work than `work` has; without one, than kMostCompilingSteps.
[[nodiscard]] bool compile_schema(std::string_view schema, Network &network, Problem &problem, Work *work = nullptr);

// False, with the problem saying where and why, if `document` is not JSON or does not satisfy the schema; 54000 if there is no saying for
// the work it would take.
[[nodiscard]] bool check_document(std::string_view schema, std::string_view document, Problem &problem, Work *work = nullptr);

}  // namespace steadytext::core::constraint
