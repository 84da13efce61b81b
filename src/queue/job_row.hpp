// Reads a claimed row of steadytext_queue: the head with the claim, the payload when the job begins. Called by
// src/queue/queue_sql.cpp and job.cpp. Regime: pg, in a transaction with SPI connected.
#pragma once

#include "src/pg/text.hpp"
#include "src/queue/job.hpp"

extern "C" {
#include "executor/spi.h"
}

#include <cstdint>

namespace steadytext::queue {

// The columns of a row from a statement, in their order.
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

// id, request_id, request_type, user_oid, session_user_oid, rank, retry_count, max_retries, age in ms, prompt, prompts, params.
// The last three are copied unchanged if they are small. In CurrentMemoryContext. Reads nothing that can be invalid, as
// a row may have been written by hand.
[[nodiscard]] Job *read_row(SPITupleTable *rows, std::uint64_t row);

// Reads the payload into the job: from the copies or, if they are too large for the claim, from the table. Raises if it
// cannot be carried out.
void read_payload(Job &job);
// Reads texts of a batch from number `from` on, as many as there is room for.
void read_texts(Job &job, std::uint32_t from);

}  // namespace steadytext::queue
