// The text of a member of a JSON object, unchanged: numbers keep their digits, members their order, and no depth is too
// much.
//
// Called by src/core/openai_request.cpp for parts that it passes on without reading them. Regime: pure. This project
// wrote the text, so it is valid JSON. For another text the only promise is that the function ends, after a single
// pass.
#pragma once

#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace steadytext::core {

// Points into `object`; empty if there is no such member. `key` is written without escapes, in the object as here.
[[nodiscard]] std::string_view json_member(std::string_view object, std::string_view key) noexcept;

// The same for several members, in a single pass over the object. A key's value stays as it is if there is no such
// member.
void json_members(std::string_view object,
                  std::span<const std::pair<std::string_view, std::string_view *>> wanted) noexcept;
// Fills `items` with the texts of a JSON array's items; false for anything but an array of strings.
[[nodiscard]] bool json_strings(std::string_view array, std::vector<std::string_view> &items);

}  // namespace steadytext::core
