// JSON values, found by what they are equal to: 1 is 1.0, members have no order.
//
// Used by schema_check.cpp for `enum` and `const`, and by alternatives.cpp. Regime: pure (may throw std::bad_alloc). What it costs to find
// one is charged: as many steps as the longest of the set has bytes at most, however large the value is. One of a kind that none has costs nothing.
#pragma once

#include "src/core/constraint/json_value.hpp"
#include "src/core/work.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace steadytext::core::constraint {

class ValueSet {
public:
    static constexpr std::size_t kNobody = SIZE_MAX;

    // Who had added an equal value, if not the same owner; kNobody: no one.
    std::size_t add(Value value, Work &work, std::size_t owner = 0);
    // False too if the work has ended.
    [[nodiscard]] bool contains(const Value &value, Work &work) const;

private:
    using Owned = std::pair<Value, std::size_t>;

    // By a text that equal values have in common, and hardly any others.
    std::map<std::string, std::vector<Owned>> values_;
    std::uint32_t kinds_ = 0;  // a bit for each kind of JSON that some value is
    std::size_t longest_ = 0;  // bytes of a key
};

}  // namespace steadytext::core::constraint
