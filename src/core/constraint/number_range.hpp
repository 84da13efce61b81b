// JSON numbers between bounds, as a network of digits.
//
// Called by schema_scalars.cpp. Regime: pure (may throw std::bad_alloc). Numbers are written without exponent, with
// few Called by schema_scalars.cpp. Regime: pure (may throw std::bad_alloc). Numbers are written without exponent, and
// with few enough digits that each compares with the bounds as a double in the same way as in decimal: at most 15, of
// which up to 6 after the point (more only if a bound has more); an integer may have more if a bound has more.
#pragma once

#include "src/core/constraint/network.hpp"
#include "src/core/decimal.hpp"

#include <optional>
#include <string>

namespace steadytext::core::constraint {

struct Bound {
    std::string digits{};  // before the point, without leading zeros except "0" itself
    std::string fraction{};
    bool negative = false;
    bool exclusive = false;
};

struct NumberRange {
    std::optional<Bound> least{};
    std::optional<Bound> most{};
    bool integer = false;
};

[[nodiscard]] Bound bound_of(const Decimal &number, bool exclusive);

void add_number_range(const NumberRange &range, Network &network, State from, State to);

}  // namespace steadytext::core::constraint
