// Batches as parameters of the keeper's statements: each parameter is an array, a row is an index into all arrays.
//
// Used by bgworker/keeper_*.cpp and src/queue, inside a transaction with SPI connected; the memory is the
// transaction's. Regime: pg.
#pragma once

#include "src/pg/postgres.hpp"
#include "src/pg/text.hpp"
#include "src/pg/time.hpp"

extern "C" {
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
}

#include <string_view>

namespace steadytext::worker {

// A column of a batch: values of the same type, some of them null.
class ArrayColumn {
public:
    void begin(Oid type, int capacity) {
        type_ = type;
        values_ = static_cast<Datum *>(palloc(sizeof(Datum) * static_cast<Size>(capacity)));
        nulls_ = static_cast<bool *>(palloc(sizeof(bool) * static_cast<Size>(capacity)));
        count_ = 0;
    }
    void add(Datum value) {
        nulls_[count_] = false;
        values_[count_++] = value;
    }
    void add_null() {
        nulls_[count_] = true;
        values_[count_++] = static_cast<Datum>(0);
    }
    void add_text(std::string_view text) { text.empty() ? add_null() : add(pg::text_datum(text)); }
    void add_time(std::int64_t unix_us) {
        unix_us == 0 ? add_null() : add(TimestampTzGetDatum(pg::timestamp_of(unix_us)));
    }
    void add_number(std::int32_t number) { number < 0 ? add_null() : add(Int32GetDatum(number)); }

    [[nodiscard]] Oid array_type() const { return get_array_type(type_); }
    [[nodiscard]] Datum array() const {
        int dimensions[1] = {count_};
        int bounds[1] = {1};
        int16 length;
        bool by_value;
        char align;
        get_typlenbyvalalign(type_, &length, &by_value, &align);
        return PointerGetDatum(
            construct_md_array(values_, nulls_, 1, dimensions, bounds, type_, length, by_value, align));
    }

private:
    Oid type_;
    Datum *values_;
    bool *nulls_;
    int count_;
};

// Runs a statement once for the whole batch; its parameters are the columns.
template <std::size_t Count>
void execute(const char *statement, const ArrayColumn (&columns)[Count], int expected) {
    Oid types[Count];
    Datum values[Count];
    for (std::size_t i = 0; i < Count; i++) {
        types[i] = columns[i].array_type();
        values[i] = columns[i].array();
    }
    if (SPI_execute_with_args(statement, static_cast<int>(Count), types, values, nullptr, false, 0) != expected)
        elog(ERROR, "the keeper's statement failed: %s", SPI_result_code_string(expected));
}

}  // namespace steadytext::worker
