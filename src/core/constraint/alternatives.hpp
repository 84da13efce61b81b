// Checks whether the alternatives of a `oneOf` exclude each other: no value satisfies two of them.
//
// Called by schema_compiler.cpp. Regime: pure (may throw std::bad_alloc). If constants, types or a constant in a
// required member tell the alternatives apart, each alternative is looked at once; otherwise they are compared in
// pairs, which is charged to the work.
#pragma once

#include "src/core/constraint/schema_document.hpp"

#include <vector>

namespace steadytext::core::constraint {

// True if it is easy to see. Meaningless once the work has ended.
[[nodiscard]] bool are_exclusive(const std::vector<const Json *> &schemas, Work &work);

}  // namespace steadytext::core::constraint
