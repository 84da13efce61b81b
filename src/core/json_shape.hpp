// How deep a JSON text nests and how dear its objects are, before a parser that builds trees sees it.
//
// Called by src/core/constraint and daemon/requests.cpp. Regime: pure (may throw std::bad_alloc). One pass, no recursion; a text that
// is no JSON has a shape too, for nothing is looked at but brackets, colons and where strings end.
//
// Trees are copied, compared and written by recursion, and an object that keeps its members in order (nlohmann::ordered_json)
// looks through all of them for each new one: depth and the sum of those comparisons are what a hostile text can make large.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace steadytext::core {

struct JsonLimits {
    std::size_t depth;         // arrays and objects within each other
    std::uint64_t cost = 16'000'000;  // comparisons of member names: an object of some 5,000 short ones
};

enum class JsonShape { Good, TooDeep, TooManyMembers };

[[nodiscard]] JsonShape shape_of(std::string_view json, const JsonLimits &limits);

}  // namespace steadytext::core
