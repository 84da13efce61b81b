// A statement on a table of the extension, prepared once in a process and kept.
//
// Used by src/functions and src/queue; a static object for each statement. A statement is prepared when it is first
// executed, under the search_path of that moment, which is pinned (as_owner.hpp, bgworker/worker_process.cpp). Its
// result is in SPI_tuptable and SPI_processed. Regime: pg, within a transaction with SPI connected.
#pragma once

#include "src/pg/postgres.hpp"

extern "C" {
#include "catalog/pg_type.h"
#include "executor/spi.h"
}

#include <cstdint>
#include <initializer_list>
#include <span>

namespace steadytext::pg {

// A value for a parameter of a statement, with its type.
struct Bound {
    Oid type = InvalidOid;
    Datum value = 0;
    bool is_null = false;

    Bound() = default;
    Bound(Oid of, Datum datum, bool null = false) : type(of), value(datum), is_null(null) {}
    Bound(std::int32_t number) : Bound(INT4OID, Int32GetDatum(number)) {}
    Bound(std::int64_t number) : Bound(INT8OID, Int64GetDatum(number)) {}
    Bound(bool truth) : Bound(BOOLOID, BoolGetDatum(truth)) {}
    Bound(Oid object) : Bound(OIDOID, ObjectIdGetDatum(object)) {}
    Bound(const void *) = delete;  // a pointer would be taken for a bool
};

struct KeptStatement {
    const char *table;  // in public; an ERROR if it is not the extension's
    const char *text;
    int expected;  // SPI_OK_*
    SPIPlanPtr plan = nullptr;

    void execute(std::span<const Bound> values);
    void execute(std::initializer_list<Bound> values = {}) { execute(std::span(values.begin(), values.size())); }
};

}  // namespace steadytext::pg
