// The text of one member of a JSON object, as it stands: numbers keep their digits, members their order, and no depth is too much.
//
// Called by src/core/openai_request.cpp for what it hands on without reading it. Regime: pure. The text is one that we wrote ourselves, so it is
// JSON; of another text nothing is promised but an end, after one pass.
#pragma once

#include <string_view>

namespace steadytext::core {

// Points into `object`; empty if there is no such member. `key` is written without escapes, in the object as here.
[[nodiscard]] std::string_view json_member(std::string_view object, std::string_view key) noexcept;

}  // namespace steadytext::core
