// Rows that set-returning functions put into their results. Used by src/functions and src/planner. Regime: pg.
#pragma once

#include "src/pg/shown_text.hpp"
#include "src/pg/time.hpp"

#include <initializer_list>

namespace steadytext::pg {

struct Column {
    Datum value = 0;
    bool is_null = false;

    Column(Datum datum) : value(datum) {}
    Column(Datum datum, bool known) : value(datum), is_null(!known) {}
};

[[nodiscard]] inline Column null_column() { return {0, false}; }
[[nodiscard]] inline Column number(std::int64_t value) { return Int64GetDatum(value); }
[[nodiscard]] inline Column number(std::uint64_t value) { return Int64GetDatum(static_cast<std::int64_t>(value)); }
[[nodiscard]] inline Column milliseconds(double us) { return Float8GetDatum(us / 1000); }
// A text of the program's own; null: NULL.
[[nodiscard]] inline Column words(const char *text) {
    return text == nullptr ? null_column() : Column(CStringGetTextDatum(text));
}
// A text from elsewhere, in UTF-8; empty: NULL.
[[nodiscard]] inline Column shown(std::string_view utf8) {
    return utf8.empty() ? null_column() : Column(shown_text(utf8));
}
// A time since 1970; 0: NULL.
[[nodiscard]] inline Column time(std::int64_t unix_us) {
    return {TimestampTzGetDatum(timestamp_of(unix_us)), unix_us != 0};
}

// `result`: of materialize().
inline void put_row(ReturnSetInfo *result, std::initializer_list<Column> columns) {
    Datum values[32];
    bool nulls[32];
    Assert(columns.size() <= std::size(values));
    for (std::size_t i = 0; i < columns.size(); i++) {
        values[i] = columns.begin()[i].value;
        nulls[i] = columns.begin()[i].is_null;
    }
    tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

}  // namespace steadytext::pg
