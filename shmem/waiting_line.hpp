// The line of sessions that wait for room in shared memory: a request slot, and payload memory for the request.
//
// Called by sessions (src/session/running_call.cpp through room.cpp) and, when it frees slots, by the gateway
// (bgworker/flights.cpp). Regime: pure, noexcept.
//
// Each role has its own line, in the order in which its sessions came. So a role whose share is used up
// (src/core/fair_share.hpp) waits for its own requests to end, and delays no other role. A process has a single seat,
// and so a single place in a line. The lines take turns: a line whose first session leaves goes behind the other lines.
//
//   A session finds no room, or others waiting:  join(), call(); when its latch is set: take_call(), then try to claim.
//   It has its room, its deadline has passed, or it was cancelled:  leave(), call().
//   A process has freed a slot or payload memory:  call().
//
// call() goes along the lines and computes the room that is left after each session before has taken its room; it calls
// the sessions whose shares allow it. It hands over nothing and remembers nothing but the lines: each call() computes
// anew from the free room. So a session that leaves, is stopped by a signal or ends does not delay the others: past its
// deadline it is passed over; until then it holds back the room of a single request. A superfluous call only costs a
// look.
//
// No wake is lost: join() counts the session before the session looks for free room, and room is freed before
// is_empty() is read. Both are sequentially consistent with SlotTable::in_use() and the head of PayloadPool's free
// list, so at least one of the two sides sees the other.
//
// Locking. Lines and seats are changed and walked under a single spin word (spin_word.hpp). Holdings are counted before
// it is taken; wakes come after it is released. A process that is killed needs no recovery: PostgreSQL then makes all
// shared memory anew.
#pragma once

#include "shmem/slot_table.hpp"
#include "shmem/spin_word.hpp"

namespace steadytext::shmem {

class WaitingLine {
    static constexpr std::int32_t kNobody = -1;

public:
    // The room a session waits for: a slot of its role's share, and payload memory.
    struct Want {
        std::uint32_t role = 0;
        std::uint32_t chunks = 0;
        std::int64_t deadline_us = 0;  // CLOCK_MONOTONIC
    };

    [[nodiscard]] static std::size_t bytes_needed(std::uint32_t processes) noexcept;
    // Once, before any other process sees the memory. Process numbers run from 0 to `processes` - 1.
    static WaitingLine *place(void *memory, std::uint32_t processes) noexcept;

    // Session. Goes to the end of its role's line; gives up an earlier place.
    void join(std::int32_t process, const Want &want) noexcept;
    // Session, whether or not it is in line.
    void leave(std::int32_t process) noexcept;
    // Session. True if its turn has come since it last asked.
    [[nodiscard]] bool take_call(std::int32_t process) noexcept;
    [[nodiscard]] bool is_called(std::int32_t process) noexcept;

    // Nobody waits. Everybody checks this first; it is a single load.
    [[nodiscard]] bool is_empty() const noexcept { return count_.load() == 0; }  // seq_cst: pairs with join()
    // Sessions in all lines together: a moment's view.
    [[nodiscard]] std::uint32_t count() const noexcept { return count_.load(std::memory_order_relaxed); }

    // Calls the sessions whose turn has come: wake(process) for each of them, with nothing held. `wake` must not raise.
    template <class Wake>
    void call(SlotTable &slots, const PayloadPool &pool, std::int64_t now_us, Wake &&wake) noexcept {
        if (is_empty())
            return;
        const Called called = call_some(slots, pool, now_us);
        for (std::uint32_t i = 0; i < called.count; i++)
            wake(called.processes[i]);
    }

private:
    // Every called session that takes its room or leaves calls the next sessions, so the bound skips nobody.
    struct Called {
        static constexpr std::uint32_t kMost = 32;
        std::uint32_t count = 0;
        std::int32_t processes[kMost];
    };

    struct alignas(kCacheLine) Seat {
        std::atomic<std::uint32_t> called{0};  // release in call_some(): pairs with the acquire in take_call()
        bool is_taken = false;
        Want want;
        std::int32_t next = kNobody;      // in its role's line
        std::int32_t previous = kNobody;  // kNobody: it is the first of its line, and has the line's own links below
        std::int32_t last = kNobody;
        std::int32_t next_line = kNobody;
        std::int32_t previous_line = kNobody;
    };

    explicit WaitingLine(std::uint32_t processes) noexcept : processes_(processes) {}
    [[nodiscard]] bool is_known(std::int32_t process) const noexcept {
        return process >= 0 && static_cast<std::uint32_t>(process) < processes_;
    }
    [[nodiscard]] Seat &seat(std::int32_t process) noexcept;
    [[nodiscard]] std::int32_t first_of(std::uint32_t role) noexcept;
    void append_line(std::int32_t first) noexcept;
    void remove_line(std::int32_t first) noexcept;
    void remove(std::int32_t process) noexcept;
    [[nodiscard]] Called call_some(SlotTable &slots, const PayloadPool &pool, std::int64_t now_us) noexcept;

    std::uint32_t processes_;
    SpinWord lock_;
    std::int32_t first_line_ = kNobody;
    std::int32_t last_line_ = kNobody;
    alignas(kCacheLine) std::atomic<std::uint32_t> count_{0};  // on a cache line that changes only when sessions wait
};

}  // namespace steadytext::shmem
