// JSON values, found by what they are equal to: 1 is 1.0, members have no order.
//
// Used by schema_check.cpp for `enum` and by alternatives.cpp. Regime: pure (may throw std::bad_alloc). Finding one costs its size and the
// logarithm of how many there are.
#pragma once

#include "src/core/constraint/json_value.hpp"

#include <cstddef>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace steadytext::core::constraint {

class ValueSet {
public:
    static constexpr std::size_t kNobody = SIZE_MAX;

    // Who had added an equal value, if not the same owner; kNobody: no one.
    std::size_t add(Value value, std::size_t owner = 0);
    [[nodiscard]] bool contains(const Value &value) const;

private:
    using Owned = std::pair<Value, std::size_t>;

    // By a text that equal values have in common, and hardly any others.
    std::map<std::string, std::vector<Owned>> values_;
};

}  // namespace steadytext::core::constraint
