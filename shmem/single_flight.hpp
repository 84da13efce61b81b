// Single flight: sessions that want the same answer at the same time share one request.
//
// Called by src/session. Regime: pure, noexcept.
//
// The first session to join() a key leads: it makes the request and tells the outcome by complete() or fail(). Sessions
// that join meanwhile wait; a cancelled waiter leaves alone. A leader that leaves hands over to the waiter that has
// waited longest; the others wait on. A leader may also turn to something else for as long as it likes, as a statement
// does whose client does not read: a session that joins then finds no flight, and its waiters may leave and join anew
// (is_abandoned()). Telling the outcome closes the flight. A closed flight lasts until all its sessions have fetched the
// outcome or left, but a session that joins the key from then on begins another flight.
//
// A session waits on at most one flight, in the seat that its process number gives it; the waiters of a flight are a
// list of seats. A session may lead several flights, but a leader does not wait: two leaders that wait for each other
// would wait for ever, so join() only tells them that the key is led. A session leaves all flights before it gives up
// its process number.
//
// Locking. A flight, the list of its waiters and the chain of its bucket change under the bucket's spin word
// (spin_word.hpp). The list of free flights has its own spin word, taken last. Wakes and the payload pool come after
// both.
//
// Three things are read without the lock. A leader's attendance is a hint. Further, a waiter polls its seat's
// `progress`. Others change it only while it is Pending; with any other value the seat belongs to the waiter. And a
// flight's outcome: the leader writes it before a waiter's progress tells of it, then anybody may read it; the last
// session that leaves frees it.
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
        Alone,   // make the request and tell nobody: no free flight is left
        // Another session leads, but waiting might never end: make the request and tell nobody, or look again later
        Led,
    };

    enum class Progress : std::uint32_t {
        None,      // not waiting; poll() never returns it for a ticket in use
        Pending,   // wait for your latch
        Lead,      // the leader left, you lead now; the answer may be in a cache by now
        Answered,  // take() it
        Failed,    // problem(), then leave()
    };

    // A session's part in a flight. Plain data; empty before join() and after its part is over.
    struct Ticket {
        std::uint32_t flight = kNone;
        std::int32_t proc_number = kNobody;
        bool leads = false;

        [[nodiscard]] bool is_empty() const noexcept { return flight == kNone; }
    };

    [[nodiscard]] static std::size_t bytes_needed(std::uint32_t flights, std::uint32_t processes) noexcept;
    // Once, before any other process sees the memory. Process numbers run from 0 to `processes` - 1.
    static SingleFlight *place(void *memory, std::uint32_t flights, std::uint32_t processes) noexcept;

    [[nodiscard]] Role join(const core::Digest &key, std::int32_t proc_number, std::int64_t now_us,
                            Ticket &ticket) noexcept;

    // Called by a session before join() too: it looks after the flights that it leads, or when it turned to something
    // else.
    void look_after(std::int32_t proc_number) noexcept { attend(proc_number, kAttends); }
    void turn_away(std::int32_t proc_number, std::int64_t now_us) noexcept { attend(proc_number, now_us); }

    // Waiter: the leader has turned away for longer than kPatienceUs. leave() and join() again.
    [[nodiscard]] bool is_abandoned(const Ticket &ticket, std::int64_t now_us) noexcept {
        return is_abandoned(ticket.flight, now_us);
    }
    static constexpr std::int64_t kPatienceUs = 1'000'000;

    // The functions below call `wake(proc_number)`, with nothing held, for each session whose wait may be over. `wake`
    // must not raise. It may be called for a session that has already noticed.

    // Leader. Gives the waiters a copy of `value`. If the pool has no room for it, the waiters lead in turn.
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

    // Leader or waiter, at any time, even if it has not noticed that it became the leader; does nothing for an empty
    // ticket. A leader hands over.
    template <class Wake>
    void leave(Ticket &ticket, PayloadPool &pool, Wake &&wake) noexcept {
        const std::int32_t heir = depart(ticket, pool);
        if (heir != kNobody)
            wake(heir);
    }

    // Waiter. A single load; after Lead the ticket is a leader's ticket.
    [[nodiscard]] Progress poll(Ticket &ticket) noexcept;

    // Waiter, once Answered: the size of the answer; the answer, after which the ticket is empty. False if
    // shared memory is damaged.
    [[nodiscard]] std::size_t size(const Ticket &ticket) noexcept { return flight(ticket.flight).answer.bytes; }
    [[nodiscard]] bool take(Ticket &ticket, char *buffer, PayloadPool &pool) noexcept;

    // Waiter, once Failed; valid until leave().
    [[nodiscard]] const core::Problem &problem(const Ticket &ticket) noexcept { return flight(ticket.flight).problem; }

    // Flights with a leader, or with an outcome still to be fetched. A moment's view, for monitoring and tests.
    [[nodiscard]] std::uint32_t in_use() const noexcept { return in_use_.load(std::memory_order_relaxed); }

private:
    struct Bucket {
        SpinWord lock;
        std::uint32_t first = kNone;  // open flights whose keys fall into this bucket
    };

    struct alignas(kCacheLine) Seat {
        // release by the leader: pairs with the acquire in poll(), which then sees the outcome and `leads`.
        std::atomic<Progress> progress{Progress::None};
        std::uint32_t leads = 0;  // flights this session leads
        // When it last looked after them; kAttends: it does now. relaxed: a hint
        std::atomic<std::int64_t> attended_us{kAttends};
        std::int32_t next = kNobody;
        std::int32_t previous = kNobody;
    };

    struct alignas(kCacheLine) Flight {
        core::Digest key{};
        std::uint32_t bucket = 0;
        std::uint32_t next = kNone;  // in the bucket's chain, or the list of free flights
        bool open = false;           // sessions can join it: it is in the bucket's chain
        std::uint32_t users = 0;     // tickets: the leader, the waiters, the sessions that have not fetched the outcome
        std::atomic<std::int32_t> leader{kNobody};  // relaxed: read with the hint of its seat
        std::int32_t first_waiter = kNobody;
        std::int32_t last_waiter = kNobody;
        Chain answer;
        core::Problem problem;
    };

    // Waiters that were told under a single hold of the lock; their number bounds that hold.
    struct Told {
        std::uint32_t count = 0;
        bool more = false;
        std::int32_t proc_numbers[32];
    };

    static constexpr std::int64_t kAttends = INT64_MAX;

    SingleFlight(std::uint32_t flights, std::uint32_t processes) noexcept;

    void attend(std::int32_t proc_number, std::int64_t at_us) noexcept;
    [[nodiscard]] bool is_abandoned(std::uint32_t index, std::int64_t now_us) noexcept;

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
