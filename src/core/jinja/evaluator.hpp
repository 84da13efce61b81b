// Runs a template's statements.
//
// Called by src/core/jinja/jinja.cpp. Regime: pure (throws, see value.hpp).
#pragma once

#include "src/core/jinja/machine.hpp"
#include "src/core/jinja/names.hpp"
#include "src/core/jinja/syntax.hpp"

namespace steadytext::core::jinja {

// `variables` is a dict.
[[nodiscard]] std::string evaluate(Nodes nodes, const NameTable &names, Machine &machine, const Value &variables);

}  // namespace steadytext::core::jinja
