// Whether the alternatives of a `oneOf` can be told apart: whether no value satisfies two of them.
//
// Called by schema_compiler.cpp. Regime: pure (may throw std::bad_alloc). Alternatives that constants, types or a constant in a required
// member tell apart are looked at once each; others pair by pair, which is charged to the work.
#pragma once

#include "src/core/constraint/schema_document.hpp"

#include <vector>

namespace steadytext::core::constraint {

// True if that can be seen at a glance. Of no meaning once the work has ended.
[[nodiscard]] bool are_exclusive(const std::vector<const Json *> &schemas, Work &work);

}  // namespace steadytext::core::constraint
