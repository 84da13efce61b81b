// The order in which an answer's members come, put into a schema whose canonical form has lost it.
//
// Called by src/session/answer_form.cpp. Regime: pure (may throw std::bad_alloc). Recursion goes as deep as the schema, which is bounded
// before it is parsed.
//
// Cache keys are made of the canonical form, which has every object's members in the order of their names; of a schema only the order of
// "properties" means something. So that is all that is kept of it: schemas that mean the same have the same text, and one whose order is that
// of the names is its canonical form, as it always was.
#pragma once

#include <string>
#include <string_view>

namespace steadytext::core::constraint {

// `canonical` with its properties in the order that `written` has them in, another text of the same schema; without one, those that
// "required" names first, in its order, then the others. As it is if that changes nothing, or if it is no schema that could be used.
[[nodiscard]] std::string with_member_order(std::string_view canonical, std::string_view written);

}  // namespace steadytext::core::constraint
