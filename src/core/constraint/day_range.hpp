// Days between two of them, as a pattern of how ISO 8601 writes them.
//
// Called by src/pg/check_demands.cpp. Regime: pure (may throw std::bad_alloc). It goes by digits: what is no day of the calendar, and none that
// `format` lets in, may match.
#pragma once

#include <string>

namespace steadytext::core::constraint {

struct Day {
    int year;  // 0 to 9999
    int month;
    int day;
};

// What matches the days from the first to the last, both included, and nothing else of the form YYYY-MM-DD. `first` is not after `last`.
[[nodiscard]] std::string day_range_pattern(const Day &first, const Day &last);

}  // namespace steadytext::core::constraint
