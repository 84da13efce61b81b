// Puts the order of an answer's members into a schema whose canonical form has lost it.
//
// Called by src/session/answer_form.cpp. Regime: pure (may throw std::bad_alloc). Recurses as deep as the schema, which
// is limited before it is parsed.
//
// Cache keys are made from the canonical form, in which the members of every object are sorted by name. In a schema
// only the order of "properties" has a meaning. So only this order is kept: schemas with the same meaning have the same
// text, and a schema whose order is alphabetical still has its canonical form.
// of the names is its canonical form, as it always was.
#pragma once

#include <string>
#include <string_view>

namespace steadytext::core::constraint {

// `canonical` with its properties in the order of `written`, another text of the same schema. If `written` is empty:
// first the names in "required", in its order, then the others. Unchanged if this changes nothing, or if the schema is
// unusable.
[[nodiscard]] std::string with_member_order(std::string_view canonical, std::string_view written);

}  // namespace steadytext::core::constraint
