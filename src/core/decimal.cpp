// Reading, comparing and writing: see decimal.hpp. Regime: pure.
#include "src/core/decimal.hpp"

#include <algorithm>

namespace steadytext::core {

namespace {

constexpr std::int64_t kMaxExponent = 1'000'000'000'000'000;

std::int64_t read_exponent(std::string_view text) {
    const bool negative = text.starts_with('-');
    if (negative || text.starts_with('+'))
        text.remove_prefix(1);
    std::int64_t exponent = 0;
    for (const char digit : text)
        exponent = std::min(exponent * 10 + (digit - '0'), kMaxExponent);
    return negative ? -exponent : exponent;
}

}  // namespace

Decimal decimal_of(std::string_view number) {
    Decimal decimal{.negative = number.starts_with('-')};
    if (decimal.negative)
        number.remove_prefix(1);
    const std::size_t e = std::min(number.find_first_of("eE"), number.size());
    const std::int64_t exponent = e < number.size() ? read_exponent(number.substr(e + 1)) : 0;
    number = number.substr(0, e);
    const std::size_t point = std::min(number.find('.'), number.size());
    decimal.digits.append(number.substr(0, point));
    if (point < number.size())
        decimal.digits.append(number.substr(point + 1));
    const std::size_t leading = std::min(decimal.digits.find_first_not_of('0'), decimal.digits.size());
    decimal.exponent = exponent + static_cast<std::int64_t>(point) - static_cast<std::int64_t>(leading);
    decimal.digits.erase(0, leading);
    decimal.digits.erase(decimal.digits.find_last_not_of('0') + 1);
    return decimal.digits.empty() ? Decimal{} : decimal;
}

int compare(const Decimal &a, const Decimal &b) {
    const auto sign = [](const Decimal &number) { return number.digits.empty() ? 0 : number.negative ? -1 : 1; };
    if (sign(a) != sign(b) || sign(a) == 0)
        return sign(a) - sign(b);
    const int larger = a.negative ? -1 : 1;
    if (a.exponent != b.exponent)
        return a.exponent > b.exponent ? larger : -larger;
    return larger * a.digits.compare(b.digits);
}

std::string to_json(const Decimal &number) {
    if (number.digits.empty())
        return "0";
    std::string text = number.negative ? "-" : "";
    const auto count = static_cast<std::int64_t>(number.digits.size());
    const std::int64_t exponent = number.exponent;
    if (exponent > kMaxPlainDigits || exponent < -kMaxPlainDigits) {
        text.append(number.digits, 0, 1);
        if (count > 1)
            text.append(".").append(number.digits, 1);
        return text.append("e").append(std::to_string(exponent - 1));
    }
    if (exponent <= 0)
        return text.append("0.").append(static_cast<std::size_t>(-exponent), '0').append(number.digits);
    if (exponent >= count)
        return text.append(number.digits).append(static_cast<std::size_t>(exponent - count), '0');
    return text.append(number.digits, 0, static_cast<std::size_t>(exponent))
        .append(".")
        .append(number.digits, static_cast<std::size_t>(exponent));
}

}  // namespace steadytext::core
