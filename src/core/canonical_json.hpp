// JSON in the one form keys are made of: what Python gives for json.dumps(json.loads(text), sort_keys=True).
//
// Called by src/functions/cache_key.cpp. Regime: pure. Separators ", " and ": ", keys in the order of their code points, the
// last of equal keys, everything beyond ASCII as \uXXXX, integers of any size digit by digit, other numbers as Python's
// repr(float).
#pragma once

#include "src/core/problem.hpp"
#include "src/core/reply.hpp"

#include <string>

namespace steadytext::core {

// Replaces `out`. False, with the problem, if the text is not JSON or nests deeper than 900.
[[nodiscard]] bool canonical_json(const PaddedText &text, std::string &out, Problem &problem);

}  // namespace steadytext::core
