// Single flight: sessions that want the same answer at the same time wait for one request instead of sending
// many.
//
// Called by src/session. Regime: pure, noexcept.
//
// The first to join() a key leads: it makes the request and tells the outcome by complete() or fail().
// Whoever joins meanwhile waits, and leaves alone when cancelled. A leader that leaves hands over to the
// waiter that has waited longest; the others wait on. With the outcome told the flight is closed: it lasts
// until all have fetched the outcome or left, but who joins the key from then on begins another.
//
// A session waits on one flight at most, in the seat that its process number gives it; the waiters of a
// flight are a list of seats. It may lead several, but who leads does not wait: two who lead and wait for
// each other would wait for ever, so join() only tells them that the key is led. A session leaves all it joined before it
// gives up its process number.
//
// Locking. A flight, the list of its waiters and the chain of its bucket are changed under the bucket's spin
// word (spin_word.hpp); the list of free flights has one of its own, taken last. Waking and the payload pool
// come after.
//
// Two things are read without it. A waiter polls its seat's `progress`, which another may change only while
// it is Pending; so with anything else in it the seat is the waiter's own. A flight's outcome is the leader's
// to write until a waiter's progress tells of it, then anybody's to read; the last who leaves frees it.
#pragma once

#include "shmem/atomic.hpp"
#include "shmem/payload_pool.hpp"
#include "shmem/spin_word.hpp"
#include "src/core/problem.hpp"
#include "src/core/sha256.hpp"

#include <string_view>

namespace steadytext::shmem {

class SingleFlight {
    static constexpr std::uint32_t kNone = UINT32_MAX;
    static constexpr std::int32_t kNobody = -1;

public:
    enum class Role {
        Leader,  // make the request, then complete(), fail() or leave()
        Waiter,  // poll(), then take(), problem() or leave()
        Alone,   // make the request and tell nobody: no flight is free
        Led,     // another leads, but waiting might never end: make the request and tell nobody, or look again later
    };

    enum class Progress : std::uint32_t {
        None,      // not waiting; poll() never says it of a ticket in use
        Pending,   // wait for your latch
        Lead,      // the leader left, you lead now; the answer may be in a cache by this time
        Answered,  // take() it
        Failed,    // problem(), then leave()
    };

    // A session's part in a flight. Plain data; empty before join() and once its part is over.
    struct Ticket {
        std::uint32_t flight = kNone;
        std::int32_t proc_number = kNobody;
        bool leads = false;

        [[nodiscard]] bool is_empty() const noexcept { return flight == kNone; }
    };

    [[nodiscard]] static std::size_t bytes_needed(std::uint32_t flights, std::uint32_t processes) noexcept;
    // Once, before any other process sees the memory. Process numbers run from 0 to `processes` - 1.
    static SingleFlight *place(void *memory, std::uint32_t flights, std::uint32_t processes) noexcept;

    [[nodiscard]] Role join(const core::Digest &key, std::int32_t proc_number, Ticket &ticket) noexcept;

    // Everything below that may end somebody's wait calls `wake(proc_number)` for each of them, with nothing
    // held. `wake` must not raise. It may be told of a session that has noticed already.

    // Leader. Gives the waiters a copy of `value`. If the pool has no room for it they lead one after
    // another.
    template <class Wake>
    void complete(Ticket &ticket, std::string_view value, PayloadPool &pool, Wake &&wake) noexcept {
        if (offer(ticket, value, pool))
            tell(ticket, Progress::Answered, pool, wake);
        else
            leave(ticket, pool, wake);
    }

    // Leader. The waiters fail as it did.
    template <class Wake>
    void fail(Ticket &ticket, const core::Problem &problem, PayloadPool &pool, Wake &&wake) noexcept {
        flight(ticket.flight).problem = problem;
        tell(ticket, Progress::Failed, pool, wake);
    }

    // Leader or waiter, at any time, whether or not it has noticed what it became meanwhile; an empty ticket
    // is left already. A leader hands over.
    template <class Wake>
    void leave(Ticket &ticket, PayloadPool &pool, Wake &&wake) noexcept {
        const std::int32_t heir = depart(ticket, pool);
        if (heir != kNobody)
            wake(heir);
    }

    // Waiter. One load; after Lead the ticket is a leader's.
    [[nodiscard]] Progress poll(Ticket &ticket) noexcept;

    // Waiter, once Answered: the size of the answer; the answer, after which the ticket is empty. False if
    // shared memory is damaged.
    [[nodiscard]] std::size_t size(const Ticket &ticket) noexcept {
        return flight(ticket.flight).answer.bytes;
    }
    [[nodiscard]] bool take(Ticket &ticket, char *buffer, PayloadPool &pool) noexcept;

    // Waiter, once Failed; valid until leave().
    [[nodiscard]] const core::Problem &problem(const Ticket &ticket) noexcept {
        return flight(ticket.flight).problem;
    }

    // Flights somebody leads or has yet to fetch the outcome of. A moment's view, for monitoring and tests.
    [[nodiscard]] std::uint32_t in_use() const noexcept { return in_use_.load(std::memory_order_relaxed); }

private:
    struct Bucket {
        SpinWord lock;
        std::uint32_t first = kNone;  // open flights whose keys fall here
    };

    struct alignas(kCacheLine) Seat {
        // release by the leader: pairs with the acquire in poll(), which then sees the outcome and `leads`.
        std::atomic<Progress> progress{Progress::None};
        std::uint32_t leads = 0;  // flights this session leads
        std::int32_t next = kNobody;
        std::int32_t previous = kNobody;
    };

    struct alignas(kCacheLine) Flight {
        core::Digest key{};
        std::uint32_t bucket = 0;
        std::uint32_t next = kNone;  // in the bucket's chain, or the list of free flights
        bool open = false;           // can be joined: is in the bucket's chain
        std::uint32_t users = 0;     // tickets: the leader, who waits, who has not fetched the outcome
        std::int32_t first_waiter = kNobody;
        std::int32_t last_waiter = kNobody;
        Chain answer;
        core::Problem problem;
    };

    // Waiters who were told under one hold of the lock: it bounds that hold.
    struct Told {
        std::uint32_t count = 0;
        bool more = false;
        std::int32_t proc_numbers[32];
    };

    SingleFlight(std::uint32_t flights, std::uint32_t processes) noexcept;

    template <class Wake>
    void tell(Ticket &ticket, Progress outcome, PayloadPool &pool, Wake &wake) noexcept {
        Told told;
        do {
            told = tell_some(ticket, outcome);
            for (std::uint32_t i = 0; i < told.count; i++)
                wake(told.proc_numbers[i]);
        } while (told.more);
        (void)depart(ticket, pool);  // nobody is left to hand over to
    }

    [[nodiscard]] bool offer(const Ticket &ticket, std::string_view value, PayloadPool &pool) noexcept;
    [[nodiscard]] Told tell_some(const Ticket &ticket, Progress outcome) noexcept;
    [[nodiscard]] std::int32_t depart(Ticket &ticket, PayloadPool &pool) noexcept;

    [[nodiscard]] std::uint32_t find(const Bucket &bucket, const core::Digest &key) noexcept;
    void open(std::uint32_t index, const core::Digest &key, std::uint32_t bucket) noexcept;
    void close(std::uint32_t index) noexcept;
    void append_waiter(Flight &flight, std::int32_t proc_number) noexcept;
    void remove_waiter(Flight &flight, std::int32_t proc_number) noexcept;
    [[nodiscard]] std::int32_t hand_over(std::uint32_t index) noexcept;
    [[nodiscard]] std::uint32_t take_free() noexcept;
    void give_free(std::uint32_t index) noexcept;

    [[nodiscard]] Bucket &bucket(std::uint32_t index) noexcept;
    [[nodiscard]] Seat &seat(std::int32_t proc_number) noexcept;
    [[nodiscard]] Flight &flight(std::uint32_t index) noexcept;

    std::uint32_t flights_;
    std::uint32_t processes_;
    std::uint32_t buckets_;  // a power of two
    std::atomic<std::uint32_t> in_use_{0};
    SpinWord free_lock_;
    std::uint32_t first_free_ = kNone;
};

}  // namespace steadytext::shmem
