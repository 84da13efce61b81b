// Jinja2's global functions: range, dict, namespace, joiner, cycler.
//
// Called by the evaluator. Regime: pure (throws, see value.hpp).
#pragma once

#include "src/core/jinja/machine.hpp"

#include <map>

namespace steadytext::core::jinja {

// Of each joiner, the text that it gives from its second call on.
using Separators = std::map<const bool *, Value>;

[[nodiscard]] Value call_global(Machine &machine, std::string_view name, const Arguments &arguments,
                                Separators &separators);

}  // namespace steadytext::core::jinja
