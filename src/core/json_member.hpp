// The text of a member of a JSON object, unchanged: numbers keep their digits, members their order, and no depth is too
// much.
//
// Called by src/core/openai_request.cpp for parts that it passes on without reading them. Regime: pure. This project
// wrote the text, so it is valid JSON. For another text the only promise is that the function ends, after a single
// pass.
#pragma once

#include <string_view>

namespace steadytext::core {

// Points into `object`; empty if there is no such member. `key` is written without escapes, in the object as here.
[[nodiscard]] std::string_view json_member(std::string_view object, std::string_view key) noexcept;

}  // namespace steadytext::core
