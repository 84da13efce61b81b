// The regexes that an answer can be asked to match, compiled to a network.
//
//   ab  .  \d \w \s \D \W \S  \n \t \r \f \v  \u00e9  [a-z0-9_]  [^,]  [[:digit:]]
//   (x)  (?:x)  x|y  x?  x*  x+  x{3}  x{2,}  x{2,5}  and their lazy forms  ^  $
//
// Called by the session (to check a pattern, and an answer against it), by steadytextd, and for `pattern` and `format`
// in schemas. Regime: pure (may throw std::bad_alloc).
//
// An answer matches as a whole; a schema's pattern may match anywhere in the string, as JSON Schema says. ^ and $ are
// the beginning and end of the text, wherever they stand. The characters of a class depend on the use of the network:
// see alphabet.hpp.
#pragma once

#include "src/core/constraint/alphabet.hpp"
#include "src/core/constraint/limits.hpp"
#include "src/core/constraint/network.hpp"
#include "src/core/problem.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace steadytext::core::constraint {

// How the characters of the text are written.
enum class Encoding { Plain, JsonString };

struct RegexForm {
    Encoding encoding = Encoding::Plain;
    Alphabet alphabet = Alphabet::Generated;
    bool of_schema = false;  // it may match anywhere, and has no named classes
};

// Adds the texts that match `pattern` between two states. False, with the problem: 2201B for a broken pattern, 0A000
// for a pattern with unsupported features.
[[nodiscard]] bool add_regex(std::string_view pattern, const RegexForm &form, Network &network, State from, State to,
                             Problem &problem);

// The finished network of a pattern. Besides the above, 54000 if it is too large, or takes more work than `work` has;
// without `work` the limit is kMaxCompilingSteps.
[[nodiscard]] bool compile_regex(std::string_view pattern, Network &network, Problem &problem, Work *work = nullptr,
                                 Alphabet alphabet = Alphabet::Generated);

// The network of these texts.
[[nodiscard]] bool compile_choices(const std::vector<std::string> &choices, Network &network, Problem &problem,
                                   Work *work = nullptr);

}  // namespace steadytext::core::constraint
