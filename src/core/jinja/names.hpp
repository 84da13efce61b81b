// The names of a template: which it takes from its variables, as jinja2.meta.find_undeclared_variables() finds them,
// and which its scopes set.
//
// Called by src/core/jinja/jinja.cpp; the evaluator looks up the unset names. Regime: pure (throws, see value.hpp).
#pragma once

#include "src/core/jinja/syntax.hpp"

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace steadytext::core::jinja {

// A scope: the statement that opens it, and which of a for's it is. The template's own has no statement.
enum class Part : std::uint8_t { Body, Else, Test };
using ScopeKey = std::pair<const Node *, Part>;

struct NameTable {
    std::set<std::string> undeclared;
    // Names that a scope sets before it reads them, and no outer scope knows: they are undefined up to there, for inner
    // scopes too, even if a variable has that name.
    std::map<ScopeKey, std::vector<std::string_view>> unset;
};

[[nodiscard]] NameTable names_of(Nodes nodes, Bounds &bounds);

}  // namespace steadytext::core::jinja
