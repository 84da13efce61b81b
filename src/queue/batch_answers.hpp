// The answers of a batch, in the order of its parts: in memory while they are few, beyond that in a temporary file.
//
// Called by src/queue/job.cpp, which adds answers as they come, and queue_sql.cpp, which reads them all when the batch
// has ended. Regime: pg. Lives in the job's memory context; its file goes with this context, however the job ends.
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

    // Adds the next answer; a NULL answer has no bytes.
    void add(bool is_null, std::string_view bytes);
    [[nodiscard]] std::int64_t bytes() const { return bytes_; }

    // rewind() goes back to the first answer; next() gives the next answer, in CurrentMemoryContext. There are as many
    // as calls of add().
    void rewind();
    [[nodiscard]] std::string_view next(bool &is_null);

private:
    static constexpr std::size_t kInMemory = 128 * 1024;
    static constexpr std::uint32_t kNull = UINT32_MAX;  // in place of the length

    static void close(void *answers);
    void write(const void *data, std::size_t size);
    void read(void *data, std::size_t size);
    void flush();

    MemoryContext memory_;
    MemoryContextCallback at_end_;
    BufFile *file_;
    char *buffer_;  // bytes written but not yet in the file, or bytes read from the file
    std::size_t filled_, position_;
    std::int64_t bytes_;
    bool reading_;
};

}  // namespace steadytext::queue
