// Writes the digits between bounds: see number_range.hpp. Regime: pure. Recurses once per digit of a bound: before the
// point at most 309 digits, as in a double; after it kMaxFraction digits, or as many as the bound has.
#include "src/core/constraint/number_range.hpp"

#include <algorithm>
#include <map>
#include <tuple>

namespace steadytext::core::constraint {

namespace {

constexpr std::size_t kMaxDigits = 15;            // every double keeps them
constexpr std::size_t kMaxExactDigits = 18;       // for integers, which are not read as doubles
constexpr std::size_t kMaxDigitsBeforePoint = 9;  // for a number with digits after the point
constexpr std::size_t kMaxFraction = 6;

// The sizes of numbers with the same sign, from `low` to `high`.
struct Magnitudes {
    Bound low;
    Bound high;
};

bool is_zero(const Bound &bound) { return bound.digits == "0" && bound.fraction.empty(); }

int compare(const Bound &a, const Bound &b) {
    if (a.digits.size() != b.digits.size())
        return a.digits.size() < b.digits.size() ? -1 : 1;
    if (const int order = a.digits.compare(b.digits); order != 0)
        return order;
    const std::size_t size = std::max(a.fraction.size(), b.fraction.size());
    const auto padded = [&](std::string fraction) { return fraction.append(size - fraction.size(), '0'); };
    return padded(a.fraction).compare(padded(b.fraction));
}

// Adds or subtracts 1 at the last digit.
void step(std::string &digits, bool up) {
    std::size_t at = digits.size();
    while (at > 0 && digits[at - 1] == (up ? '9' : '0'))
        digits[--at] = up ? '0' : '9';
    if (at > 0)
        digits[at - 1] = static_cast<char>(digits[at - 1] + (up ? 1 : -1));
    else if (up)
        digits.insert(digits.begin(), '1');
}

// A bound with more digits than a double keeps of any number, rounded towards the allowed numbers. Numbers with at most
// that many digits compare with the rounded bound as with the bound itself, as two such numbers are never the same
// double.
Bound kept(Bound bound, bool up) {
    const std::size_t room = kMaxDigits - std::min(kMaxDigits, bound.digits.size());
    if (bound.fraction.size() > room) {
        std::string digits = bound.digits + bound.fraction.substr(0, room);
        if (up)
            step(digits, up);
        bound.fraction = digits.substr(digits.size() - room);
        bound.fraction.erase(bound.fraction.find_last_not_of('0') + 1);
        bound.digits = digits.substr(0, digits.size() - room);
        bound.exclusive = false;
    } else if (bound.exclusive && bound.digits.size() > kMaxExactDigits) {
        const std::size_t length = bound.digits.size();
        std::string digits = bound.digits.substr(0, kMaxDigits);
        step(digits, up);
        digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size() - 1));
        bound.digits = digits.append(length - kMaxDigits, '0');
        bound.exclusive = false;
    }
    return bound;
}

class Writer {
public:
    Writer(Network &network, State to, bool integer) : network_(network), to_(to), integer_(integer) {}

    void write(const Magnitudes &bounds, State from) {
        range_ = {kept(bounds.low, true), kept(bounds.high, false)};
        const int order = compare(range_.low, range_.high);
        if (order > 0 || (order == 0 && (range_.low.exclusive || range_.high.exclusive)))
            return;
        const std::size_t shortest = range_.low.digits.size();
        const std::size_t longest = range_.high.digits.size();
        for (std::size_t length = shortest; length <= longest && network_.fits(); length++) {
            states_.clear();
            write_digits(from, length, 0, length == shortest, length == longest);
        }
    }

private:
    // Writes the digit at `at` of `length`; `low`, `high`: all digits before equal those of the bound.
    void write_digits(State from, std::size_t length, std::size_t at, bool low, bool high) {
        if (at == length)
            return write_end(from, length, low, high);
        const char first = low ? range_.low.digits[at] : at == 0 && length > 1 ? '1' : '0';
        const char last = high ? range_.high.digits[at] : '9';
        for_each_digit_group(first, last, low, high, [&](char begin, char end, bool still_low, bool still_high) {
            const auto [next, is_new] = state_at(at, still_low, still_high);
            network_.add_bytes(from, static_cast<std::uint8_t>(begin), static_cast<std::uint8_t>(end), next);
            if (is_new)
                write_digits(next, length, at + 1, still_low, still_high);
        });
    }

    // Groups digits that leave the same bounds in force.
    template <class Visit>
    static void for_each_digit_group(char first, char last, bool low, bool high, Visit visit) {
        if (first > last)
            return;
        if (low && high && first == last)
            return visit(first, last, true, true);
        if (low)
            visit(first, first, true, false), first++;
        if (high && first <= last)
            visit(last, last, false, true), last--;
        if (first <= last)
            visit(first, last, false, false);
    }

    std::pair<State, bool> state_at(std::size_t at, bool low, bool high) {
        const auto [found, is_new] = states_.try_emplace({at, low, high}, 0);
        if (is_new)
            found->second = network_.add_state();
        return {found->second, is_new};
    }

    void write_end(State from, std::size_t length, bool low, bool high) {
        if (ends_between(0, low, high))
            network_.add_empty(from, to_);
        if (integer_ || length > kMaxDigitsBeforePoint)
            return;
        fraction_limit_ =
            std::min(kMaxDigits - length,
                     std::max({kMaxFraction, range_.low.fraction.size() + 1, range_.high.fraction.size() + 1}));
        const State point = network_.add_state();
        network_.add_bytes(from, '.', '.', point);
        fractions_.clear();
        write_fraction(point, 0, low, high);
    }

    // The number may end after `at` digits of its fraction.
    [[nodiscard]] bool ends_between(std::size_t at, bool low, bool high) const {
        const bool equals_low = low && range_.low.fraction.size() <= at;
        const bool equals_high = high && range_.high.fraction.size() <= at;
        if (low && (!equals_low || range_.low.exclusive))
            return false;
        return !equals_high || !range_.high.exclusive;
    }

    void write_fraction(State from, std::size_t at, bool low, bool high) {
        if (at == fraction_limit_)
            return;
        const auto digit = [&](const Bound &bound) { return at < bound.fraction.size() ? bound.fraction[at] : '0'; };
        const char first = low ? digit(range_.low) : '0';
        const char last = high ? digit(range_.high) : '9';
        for_each_digit_group(first, last, low, high, [&](char begin, char end, bool still_low, bool still_high) {
            const auto [found, is_new] = fractions_.try_emplace({at, still_low, still_high}, 0);
            if (is_new) {
                const State next = found->second = network_.add_state();
                if (ends_between(at + 1, still_low, still_high))
                    network_.add_empty(next, to_);
                write_fraction(next, at + 1, still_low, still_high);
            }
            network_.add_bytes(from, static_cast<std::uint8_t>(begin), static_cast<std::uint8_t>(end),
                               fractions_.at({at, still_low, still_high}));
        });
    }

    using Place = std::tuple<std::size_t, bool, bool>;
    Network &network_;
    State to_;
    bool integer_;
    Magnitudes range_{};
    std::size_t fraction_limit_ = kMaxFraction;
    std::map<Place, State> states_;
    std::map<Place, State> fractions_;
};

Bound without_sign(Bound bound) {
    bound.negative = false;
    return bound;
}

Bound nines(std::size_t digits) { return {.digits = std::string(digits, '9')}; }

}  // namespace

Bound bound_of(const Decimal &number, bool exclusive) {
    const std::string written = to_json(number);
    Bound bound{.negative = written.starts_with('-'), .exclusive = exclusive};
    const std::size_t point = std::min(written.find('.'), written.size());
    bound.digits = written.substr(bound.negative ? 1 : 0, point - (bound.negative ? 1 : 0));
    if (point < written.size())
        bound.fraction = written.substr(point + 1);
    return bound;
}

void add_number_range(const NumberRange &range, Network &network, State from, State to) {
    Writer writer(network, to, range.integer);
    const Bound zero{.digits = "0"};
    // The limit without a bound: as many digits as a double keeps, or a digit more than the other bound has.
    const auto limit = [](const std::optional<Bound> &other) {
        return nines(std::max(kMaxDigits, other.has_value() ? other->digits.size() + 1 : 0));
    };
    if (!range.most.has_value() || !range.most->negative) {
        const bool from_zero = !range.least.has_value() || range.least->negative;
        writer.write({from_zero ? zero : *range.least, range.most.value_or(limit(range.least))}, from);
    }
    if (!range.least.has_value() || range.least->negative) {
        Bound low = zero;
        low.exclusive = true;  // there is no -0
        if (range.most.has_value() && range.most->negative)
            low = without_sign(*range.most);
        const Bound high = range.least.has_value() ? without_sign(*range.least) : limit(range.most);
        if (!is_zero(high))
            writer.write({low, high}, network.add_literal(from, "-"));
    }
}

}  // namespace steadytext::core::constraint
