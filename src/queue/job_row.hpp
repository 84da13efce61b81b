// A claimed row of steadytext_queue, read. Called by src/queue/queue_sql.cpp. Regime: pg.
#pragma once

#include "src/pg/text.hpp"
#include "src/queue/job.hpp"

extern "C" {
#include "executor/spi.h"
}

#include <cstdint>

namespace steadytext::queue {

// The columns of a row that a statement gave, in their order.
class Columns {
public:
    Columns(SPITupleTable *rows, std::uint64_t row) : rows_(rows), tuple_(rows->vals[row]) {}
    Datum next(bool &is_null) { return SPI_getbinval(tuple_, rows_->tupdesc, ++column_, &is_null); }
    Datum next() {
        bool is_null;
        return next(is_null);
    }
    // Copied into CurrentMemoryContext.
    core::TextArgument text() {
        core::TextArgument argument;
        const Datum value = next(argument.is_null);
        if (!argument.is_null)
            argument.text = pg::copy_text(pg::utf8_text(value));
        return argument;
    }

private:
    SPITupleTable *rows_;
    HeapTuple tuple_;
    int column_ = 0;
};

// id, request_id, request_type, user_id, rank, retry_count, max_retries, whether it has a callback, prompt, prompts, params. What it
// says is copied into CurrentMemoryContext.
[[nodiscard]] JobRow read_row(SPITupleTable *rows, std::uint64_t row);

}  // namespace steadytext::queue
