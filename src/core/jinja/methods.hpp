// The methods of texts, lists and dicts that a template may call.
//
// Called by the evaluator. Regime: pure (throws, see value.hpp).
#pragma once

#include "src/core/jinja/machine.hpp"

namespace steadytext::core::jinja {

[[nodiscard]] Value call_method(Machine &machine, const Method &method, const Arguments &arguments);

}  // namespace steadytext::core::jinja
