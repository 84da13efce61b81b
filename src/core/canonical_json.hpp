// JSON in the form that keys are made of: the output of Python's json.dumps(json.loads(text),
// sort_keys=True).
//
//   {"b":1E5, "a":"é"}   ->   {"a": "\u00e9", "b": 100000.0}
//
// Called by src/functions/cache_key.cpp and src/session/answer_form.cpp. Regime: pure (may throw
// std::bad_alloc); a single parser per process, so not for threads. Separators ", " and ": ", keys in the
// order of their code points, the last of equal keys, everything beyond printable ASCII escaped, integers of
// any size digit by digit, other numbers as Python's repr(float), numbers that are too large as Infinity.
//
// Python's loads takes more than JSON: NaN and Infinity as words, and halves of surrogate pairs, which then
// have no UTF-8 to hash. Both are refused here, as jsonb refuses them.
#pragma once

#include "src/core/problem.hpp"
#include "src/core/reply.hpp"

#include <string>

namespace steadytext::core {

// A little less than Python's own recursion allows.
inline constexpr int kCanonicalDepth = 900;

// Replaces `out`. False, with the problem, if the text is not a single JSON value or nests deeper than
// kCanonicalDepth.
[[nodiscard]] bool canonical_json(const PaddedText &text, std::string &out, Problem &problem);

}  // namespace steadytext::core
