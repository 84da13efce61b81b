// JSON schemas (the part of draft 2020-12 that docs/structured.md lists): compiles a schema to the texts that satisfy
// it, and checks a text.
//
// Called by the session (to check a schema, and an answer against it) and by steadytextd. Regime: pure (may throw
// std::bad_alloc).
//
// compile_schema() makes some of the texts that satisfy the schema, not all: members come in the schema's order, white
// space is at most a blank, numbers have no exponent. check_document() accepts every text that satisfies it, as other
// engines write differently. An unsupported keyword that would restrict a value is refused; an unknown keyword is
// ignored, as the standard says.
#pragma once

#include "src/core/constraint/network.hpp"
#include "src/core/problem.hpp"

namespace steadytext::core::constraint {

// The finished network of documents. False, with the problem: 22023 for an invalid schema, 0A000 for an unsupported
// keyword, 54000 if the schema is too large or takes more work than `work` has; without `work` the limit is
// kMaxCompilingSteps.
[[nodiscard]] bool compile_schema(std::string_view schema, Network &network, Problem &problem, Work *work = nullptr);

// False, with the problem saying where and why, if `document` is not JSON or does not satisfy the schema; 54000 if the
// check takes too much work.
[[nodiscard]] bool check_document(std::string_view schema, std::string_view document, Problem &problem,
                                  Work *work = nullptr);

}  // namespace steadytext::core::constraint
