// The days between two days, as a pattern of their form in ISO 8601.
//
// Called by src/pg/check_demands.cpp. Regime: pure (may throw std::bad_alloc). It compares digits: a text that is no
// day of the calendar, which `format` does not let in, may match.
#pragma once

#include <string>

namespace steadytext::core::constraint {

struct Day {
    int year;  // 0 to 9999
    int month;
    int day;
};

// Matches the days from the first to the last, both included, and no other text of the form YYYY-MM-DD that is a day.
// `first` is not after `last`.
[[nodiscard]] std::string day_range_pattern(const Day &first, const Day &last);

}  // namespace steadytext::core::constraint
