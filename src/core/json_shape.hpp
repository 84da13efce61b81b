// Measures how deep a JSON text nests and how expensive its objects are, before a parser builds a tree from it.
//
// Called by src/core/constraint and daemon/requests.cpp. Regime: pure (may throw std::bad_alloc). A single pass, no
// recursion. A text that is no JSON has a shape too, as the pass only looks at brackets, colons and the ends of
// strings.
//
// Trees are copied, compared and written by recursion, and an object that keeps its members in order
// (nlohmann::ordered_json) searches all of them for each new member. So a hostile text can make two things large: the
// depth, and the sum of these comparisons.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace steadytext::core {

struct JsonLimits {
    std::size_t depth;                // arrays and objects within each other
    std::uint64_t cost = 16'000'000;  // comparisons of member names: an object of some 5,000 short names
};

enum class JsonShape { Good, TooDeep, TooManyMembers };

[[nodiscard]] JsonShape shape_of(std::string_view json, const JsonLimits &limits);

}  // namespace steadytext::core
