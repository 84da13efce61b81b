// A set of JSON values, compared by value: 1 equals 1.0, and members have no order.
//
// Used by schema_check.cpp for `enum` and `const`, and by alternatives.cpp. Regime: pure (may throw std::bad_alloc). A
// search is charged: at most as many steps as the longest value of the set has bytes, however large the searched value
// is. A value of a kind that the set does not contain costs nothing.
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

    // The owner that added an equal value, if it is another owner; else kNobody.
    std::size_t add(Value value, Work &work, std::size_t owner = 0);
    // Also false if the work has ended.
    [[nodiscard]] bool contains(const Value &value, Work &work) const;

private:
    using Owned = std::pair<Value, std::size_t>;

    // By a text that equal values share, and that different values hardly ever share.
    std::map<std::string, std::vector<Owned>> values_;
    std::uint32_t kinds_ = 0;  // a bit for each kind of JSON value in the set
    std::size_t longest_ = 0;  // bytes of the longest key
};

}  // namespace steadytext::core::constraint
