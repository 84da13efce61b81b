// The answers of a batch, in the order asked: kept in memory while they are few, in a temporary file beyond that.
//
// Used by src/queue/job.cpp, which adds them as they come, and queue_sql.cpp, which reads them all when the batch has ended. Regime: pg.
// Lives in the job's memory context, and its file goes with that context, whatever ends the job.
#pragma once

#include "src/pg/postgres.hpp"

extern "C" {
#include "storage/buffile.h"
}

#include <cstdint>
#include <string_view>

namespace steadytext::queue {

class BatchAnswers {
public:
    // In CurrentMemoryContext.
    [[nodiscard]] static BatchAnswers *make();

    // The next one's; of NULL without bytes.
    void add(bool is_null, std::string_view bytes);
    [[nodiscard]] std::int64_t bytes() const { return bytes_; }

    // From the first one on: the next answer, in CurrentMemoryContext. As often as add() was called.
    void rewind();
    [[nodiscard]] std::string_view next(bool &is_null);

private:
    static constexpr std::size_t kInMemory = 128 * 1024;
    static constexpr std::uint32_t kNull = UINT32_MAX;  // stands for the length

    static void close(void *answers);
    void write(const void *data, std::size_t size);
    void read(void *data, std::size_t size);
    void flush();

    MemoryContext memory_;
    MemoryContextCallback at_end_;
    BufFile *file_;
    char *buffer_;  // written and not in the file; or read from the file
    std::size_t filled_, position_;
    std::int64_t bytes_;
    bool reading_;
};

}  // namespace steadytext::queue
