// The processes that wait for asynchronous calls to end, so that a worker wakes only the processes that wait for its
// call.
//
// Called by src/functions/queue.cpp (begin, end) and, after the commit, by every process that ends calls (wake).
// Regime: pure, lock-free, noexcept. A waiter publishes its key before it looks at the table, so that a call that ends
// afterwards finds it. A superfluous wake only costs a look.
#pragma once

#include "shmem/atomic.hpp"

#include <cstddef>
#include <cstdint>
#include <new>

namespace steadytext::shmem {

class QueueWaiters {
public:
    static constexpr std::uint64_t kAny = UINT64_MAX;  // waits for several

    [[nodiscard]] static std::size_t bytes_needed(std::uint32_t processes) noexcept {
        return sizeof(QueueWaiters) + processes * sizeof(std::atomic<std::uint64_t>);
    }
    static QueueWaiters *place(void *memory, std::uint32_t processes) noexcept {
        auto *waiters = new (memory) QueueWaiters;
        waiters->processes_ = processes;
        for (std::uint32_t i = 0; i < processes; i++)
            new (&waiters->keys()[i]) std::atomic<std::uint64_t>(0);
        return waiters;
    }

    // seq_cst, as is wake(): either the waiter sees the ended call, or the process that ended it sees the waiter.
    void begin(std::int32_t process, std::uint64_t key) noexcept {
        if (is_known(process))
            keys()[process].store(key == 0 ? kAny : key);
    }
    void end(std::int32_t process) noexcept {
        if (is_known(process))
            keys()[process].store(0);
    }
    // Calls wake(process) for each process that waits for a key for which `matches`.
    template <class Matches, class Wake>
    void wake(Matches matches, Wake wake_process) noexcept {
        for (std::uint32_t i = 0; i < processes_; i++)
            if (const std::uint64_t key = keys()[i].load(); key != 0 && (key == kAny || matches(key)))
                wake_process(static_cast<std::int32_t>(i));
    }

private:
    QueueWaiters() = default;
    [[nodiscard]] std::atomic<std::uint64_t> *keys() noexcept {
        return reinterpret_cast<std::atomic<std::uint64_t> *>(this + 1);
    }
    [[nodiscard]] bool is_known(std::int32_t process) const noexcept {
        return process >= 0 && static_cast<std::uint32_t>(process) < processes_;
    }
    alignas(std::atomic<std::uint64_t>) std::uint32_t processes_ = 0;
};

}  // namespace steadytext::shmem
