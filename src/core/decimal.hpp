// Numbers of JSON texts, digit by digit: compared and written exactly, however large or fine.
//
// Used by src/core/constraint. Regime: pure (may throw std::bad_alloc).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace steadytext::core {

// ±0.d1d2d3... times ten to the power of `exponent`; d1 and the last digit are not 0, and zero has no digits.
struct Decimal {
    bool negative = false;
    std::string digits{};
    std::int64_t exponent = 0;

    [[nodiscard]] bool is_integer() const {
        return static_cast<std::int64_t>(digits.size()) <= exponent || digits.empty();
    }
};

// Reads a text that is a number by JSON's grammar. An exponent beyond ±10^15 counts as ±10^15.
[[nodiscard]] Decimal decimal_of(std::string_view number);
// Below 0, 0 or above 0.
[[nodiscard]] int compare(const Decimal &a, const Decimal &b);
// As JSON: without exponent if at most kMaxPlainDigits digits suffice. Equal numbers give equal texts.
inline constexpr std::int64_t kMaxPlainDigits = 5'000;
[[nodiscard]] std::string to_json(const Decimal &number);

}  // namespace steadytext::core
