// Answers kept until they are wanted, in any order: in memory up to work_mem, in a temporary file beyond that.
//
// Called by src/session/batch.cpp. Regime: pg. The memory is that of the context in which the store was made. The file
// is closed by close() or, after an error, with the transaction's resources. All answers are put before the first is
// fetched.
#pragma once

#include "src/pg/postgres.hpp"

extern "C" {
#include "storage/buffile.h"
}

#include <cstdint>
#include <string_view>

namespace steadytext::session {

class AnswerStore {
public:
    struct Place {
        std::int64_t offset = 0;
        std::int32_t file = kMemory;
        std::uint32_t size = 0;
    };

    [[nodiscard]] static AnswerStore *make();

    [[nodiscard]] Place put(std::string_view answer);
    // The answer is in CurrentMemoryContext, or in the store's own memory.
    [[nodiscard]] std::string_view fetch(const Place &place);
    // Nothing can be fetched any more.
    void close();

private:
    static constexpr std::int32_t kMemory = -1;

    [[nodiscard]] bool grow(std::size_t size);
    [[nodiscard]] Place put_in_file(std::string_view answer);

    MemoryContext context_ = nullptr;
    char *memory_ = nullptr;
    std::size_t used_ = 0;
    std::size_t room_ = 0;
    BufFile *file_ = nullptr;
};

}  // namespace steadytext::session
