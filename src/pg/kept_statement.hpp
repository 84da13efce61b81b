// A statement on a table of the extension, prepared once in a process and kept.
//
// Used by src/functions and src/queue; a static object for each statement. A statement is prepared when it is first
// executed, under the search_path of that moment, which is pinned (as_owner.hpp, bgworker/worker_process.cpp). Its
// result is in SPI_tuptable and SPI_processed. Regime: pg, within a transaction with SPI connected.
#pragma once

#include "src/pg/postgres.hpp"

extern "C" {
#include "executor/spi.h"
}

#include <cstddef>

namespace steadytext::pg {

struct KeptStatement {
    const char *table;  // in public; an ERROR if it is not the extension's
    const char *text;
    int expected;  // SPI_OK_*
    SPIPlanPtr plan = nullptr;

    // `nulls`: as for SPI, a character for each value; nullptr: no value is null.
    template <std::size_t Count>
    void execute(const Oid (&types)[Count], const Datum (&values)[Count], const char *nulls = nullptr) {
        run(static_cast<int>(Count), types, values, nulls);
    }
    void execute() { run(0, nullptr, nullptr, nullptr); }

private:
    void run(int count, const Oid *types, const Datum *values, const char *nulls);
};

}  // namespace steadytext::pg
