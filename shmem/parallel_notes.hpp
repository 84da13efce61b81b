// Notes that the processes of a parallel query leave each other about their statement: a note per process, by process
// number.
//
// The leader notes whether its statement stores its rows. A worker sees only a piece of the plan, so it reads that
// note, and notes in turn when it has returned something in place of an answer. They count their calls together, in the
// leader's note. Written and read by src/session/statement.* and statement_caps.*. Regime: pure, lock-free, noexcept.
#pragma once

#include "shmem/atomic.hpp"

#include <cstddef>
#include <cstdint>
#include <new>

namespace steadytext::shmem {

struct ParallelNote {
    // Written by the leader before it starts workers and read by them after: starting a process orders the two.
    std::atomic<bool> stores{false};
    std::atomic<std::uint32_t> login{0};  // whose shares are used (session/login.hpp); 0: the session's role's
    // Written by workers, read and taken back by the leader; a parallel query's end orders the two.
    std::atomic<bool> stood_in{false};
    // Caps of the statement, written by the leader; 0: none. Calls, -1: it is a restore's (statement_caps.cpp).
    std::atomic<std::int64_t> most_calls{0}, most_tokens{0};
    // Of all processes of the statement, each with the tokens that it needed, or may need.
    std::atomic<std::int64_t> calls{0}, tokens{0};
    // What calls of workers came to, since the server's start, in the order of numbers_of(): EXPLAIN takes the difference (observe.cpp).
    static constexpr std::size_t kEndedNumbers = 7;
    std::atomic<std::uint64_t> ended[kEndedNumbers]{};
};
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<std::int64_t>::is_always_lock_free);

class ParallelNotes {
public:
    [[nodiscard]] static std::size_t bytes_needed(std::uint32_t processes) noexcept {
        return sizeof(ParallelNotes) + processes * sizeof(ParallelNote);
    }
    static ParallelNotes *place(void *memory, std::uint32_t processes) noexcept {
        auto *notes = new (memory) ParallelNotes(processes);
        for (std::uint32_t i = 0; i < processes; i++)
            new (reinterpret_cast<ParallelNote *>(notes + 1) + i) ParallelNote;
        return notes;
    }
    // Null for a number that no regular process has.
    [[nodiscard]] ParallelNote *of(std::int32_t process) noexcept {
        const bool is_known = process >= 0 && static_cast<std::uint32_t>(process) < processes_;
        return is_known ? reinterpret_cast<ParallelNote *>(this + 1) + process : nullptr;
    }

private:
    explicit ParallelNotes(std::uint32_t processes) noexcept : processes_(processes) {}
    alignas(kCacheLine) std::uint32_t processes_;
};

}  // namespace steadytext::shmem
