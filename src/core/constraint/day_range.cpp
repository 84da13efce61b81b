// Digit by digit: see day_range.hpp. Regime: pure. Recursion goes eight levels deep.
#include "src/core/constraint/day_range.hpp"

#include <vector>

namespace steadytext::core::constraint {

namespace {

constexpr std::size_t kDigits = 8;

std::string digits_of(const Day &day) {
    std::string digits = std::to_string(100'000'000 + day.year * 10'000 + day.month * 100 + day.day);
    return digits.substr(1);
}

class Writer {
public:
    Writer(const Day &first, const Day &last) : low_(digits_of(first)), high_(digits_of(last)) {}

    // The texts that may follow the first `at` digits. `low`, `high`: all these digits equal the
    // digits of the bound.
    [[nodiscard]] std::string write(std::size_t at, bool low, bool high) const {
        if (at == kDigits)
            return {};
        const std::string dash = at == 4 || at == 6 ? "-" : "";
        if (!low && !high)
            return dash + "\\d" + write(at + 1, false, false);
        const char first = low ? low_[at] : '0', last = high ? high_[at] : '9';
        if (low && high && first == last)
            return dash + first + write(at + 1, true, true);
        std::vector<std::string> ways;
        if (low)
            ways.push_back(first + write(at + 1, true, false));
        if (high)
            ways.push_back(last + write(at + 1, false, true));
        const char begin = static_cast<char>(first + low), end = static_cast<char>(last - high);
        if (begin <= end)
            ways.push_back(std::string("[") + begin + "-" + end + "]" + write(at + 1, false, false));
        std::string all = dash + "(?:";
        for (const std::string &way : ways)
            all.append(&way == &ways.front() ? "" : "|").append(way);
        return all + ")";
    }

private:
    std::string low_;
    std::string high_;
};

}  // namespace

std::string day_range_pattern(const Day &first, const Day &last) { return Writer(first, last).write(0, true, true); }

}  // namespace steadytext::core::constraint
