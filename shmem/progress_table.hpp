// The progress of long calls: a row per process, by its number.
//
// Written by src/session/progress.* for its own process, read by the view steadytext_progress. Regime: pure, noexcept.
// The numbers are a moment's view, independent of each other; `pid` is written last (release) and read first (acquire).
#pragma once

#include "shmem/atomic.hpp"
#include "shmem/call_stats.hpp"

#include <new>

namespace steadytext::shmem {

struct alignas(kCacheLine) ProgressRow {
    std::atomic<std::int32_t> pid{0};  // 0: nothing under way
    std::atomic<std::uint32_t> role{0};
    std::atomic<CallKind> kind{CallKind::Generate};
    std::atomic<std::int64_t> total{0};
    std::atomic<std::int64_t> done{0};  // cached and failed items included
    std::atomic<std::int64_t> cached{0};
    std::atomic<std::int64_t> failed{0};
    std::atomic<std::int64_t> started_us{0};  // since 1970
};

class ProgressTable {
public:
    [[nodiscard]] static std::size_t bytes_needed(std::uint32_t processes) noexcept {
        return sizeof(ProgressTable) + processes * sizeof(ProgressRow);
    }
    static ProgressTable *place(void *memory, std::uint32_t processes) noexcept {
        auto *table = new (memory) ProgressTable(processes);
        for (std::uint32_t i = 0; i < processes; i++)
            new (&table->row(i)) ProgressRow;
        return table;
    }

    [[nodiscard]] std::uint32_t size() const noexcept { return size_; }
    [[nodiscard]] ProgressRow &row(std::uint32_t process) noexcept {
        return reinterpret_cast<ProgressRow *>(this + 1)[process];
    }

private:
    explicit ProgressTable(std::uint32_t size) noexcept : size_(size) {}
    alignas(kCacheLine) std::uint32_t size_;
};

}  // namespace steadytext::shmem
