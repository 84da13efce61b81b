// The rate limiter: recent usage of every role, operation, model and database, and admission against all limits at
// once.
//
// Called by src/session/limits.cpp and the functions that show and reset usage. Regime: pure, noexcept.
//
// A *meter* counts the usage of a single key, such as the requests of role 16384 for operation "embed" in database 5.
// It is a sliding window (sliding_window.hpp), or for concurrency the number of calls in progress. It stores no limit:
// limits come with each call, from the caller's rules. So a changed rule applies from the next call on, and past usage
// stays.
//
// All or nothing. admit() holds the spin words of all meters of a call (spin_word.hpp), checks all of them, and only
// then charges them. A refused call has changed nothing, not even for a moment, so nothing has to be given back and no
// other call is refused because of it. Spin words are taken in ascending order of the meters' indexes, which is the
// order of the caller's array, so two calls cannot deadlock. The directory's spin word comes before those of meters; it
// is taken when a session meets a limit for the first time.
//
// A call is admitted at a single time for all its limits: the time that its caller read from the clock, or, if calls
// with a later time were charged first, the latest of their times. So times only go up in each meter, and each time
// lies between the call's beginning and its end.
//
// A meter is idle if its window is empty and no call is in it. When all meters are taken, an idle meter is given to
// another key, with another generation. A session that remembers this meter notices the generation under the meter's
// spin word and looks for its meter again. If no meter is idle, find() fails and the call must be refused: lack of
// meters never makes a role unlimited. A role has at most a quarter of the meters, a database three quarters; beyond
// that, it only gets idle meters of its own.
//
// Leases. A call that a concurrency limit admitted leaves a word in its process's seat: {pid, generation, meter}. The
// process that removes this word by compare-and-swap counts the call off, so it is counted off once: by the session at
// the end of the call, however it ends, or by sweep() if the process with that pid is gone. The word contains the pid,
// so the lease of a living process is not mistaken for the lease of a dead process.
//
// After a crash PostgreSQL makes all shared memory anew: usage starts from nothing, and no lease is left.
#pragma once

#include "shmem/sliding_window.hpp"
#include "shmem/spin_word.hpp"

#include <cstddef>
#include <span>

namespace steadytext::shmem {

class RateLimiter {
public:
    static constexpr std::size_t kMaxLimits = 48;      // the most that can bind a call
    static constexpr std::size_t kSubjectBytes = 264;  // "daemon:" and an endpoint
    static constexpr std::uint32_t kMaxMeters = 65'535;
    static constexpr std::int64_t kNever = SlidingWindow::kNever;

    enum class Unit : std::uint32_t { Requests, Tokens, Concurrency };

    // The key of a meter. Compared as bytes: unused bytes are zero.
    struct Key {
        std::uint32_t database = 0;  // 0: the whole server
        std::uint32_t role = 0;      // 0: all roles together
        std::uint32_t rule = 0;      // tells limits of a subject apart: numbered by the caller
        char subject[kSubjectBytes] = "";

        bool operator==(const Key &other) const noexcept;
    };

    struct MeterId {
        std::uint32_t index;
        std::uint32_t generation;
    };

    struct Limit {
        MeterId meter;
        Unit unit;
        std::int64_t most;
        std::int64_t window_us;  // of Requests and Tokens
    };

    // The amounts that a call asks for.
    struct Demand {
        std::int64_t requests = 1;
        std::int64_t tokens = 0;

        [[nodiscard]] std::int64_t of(Unit unit) const noexcept {
            return unit == Unit::Requests ? requests : unit == Unit::Tokens ? tokens : 1;
        }
    };

    // The process that makes a call; its process number gives the seat.
    struct Caller {
        std::int32_t proc_number;
        std::int32_t pid;
    };

    // The charges of a call, until settle() or end().
    struct Grant {
        struct Item {
            Limit limit;
            std::int64_t amount;
            SlidingWindow::Mark mark;
            std::uint32_t lease;  // of Concurrency: its place in the seat
        };
        std::uint32_t count = 0;
        Item items[kMaxLimits];
    };

    enum class Verdict {
        Admitted,
        Refused,
        Stale,     // a meter was given to another key: call find() again
        NoLeases,  // the process is in more calls at once than a seat has leases for
    };

    struct Outcome {
        Verdict verdict = Verdict::Admitted;
        std::size_t refused_by = 0;  // the limit that refuses longest
        // Until this limit would admit the call; kNever; 0 for Concurrency, as the wait is unknown
        std::int64_t wait_us = 0;
        std::int64_t left = 0;   // what this limit has left now
        std::int64_t at_us = 0;  // when the call was admitted
    };

    struct Usage {
        std::int64_t used;
        std::int64_t wait_us;   // until another unit would be admitted
        std::uint64_t refused;  // calls refused since the meter was taken or reset
    };

    [[nodiscard]] static std::size_t bytes_needed(std::uint32_t meters, std::uint32_t processes) noexcept;
    // Once, before any other process sees the memory. Process numbers run from 0 to `processes` - 1.
    static RateLimiter *place(void *memory, std::uint32_t meters, std::uint32_t processes) noexcept;

    // The meter of a key; takes a meter if the key has none. False if no meter is left.
    [[nodiscard]] bool find(const Key &key, std::int64_t now_us, MeterId &meter) noexcept;

    // Usage from before the meter was taken, as a table remembers it, oldest first. Budgets have a history: a caller
    // whose meter has no history yet adds it before it asks for admission. Only the first caller's history is added; a
    // stale meter takes none.
    struct Past {
        std::int64_t amount;
        std::int64_t at_us;
    };
    [[nodiscard]] bool has_history(MeterId meter) noexcept;
    void add_history(MeterId meter, std::span<const Past> history, std::int64_t window_us,
                     std::int64_t now_us) noexcept;

    // Charges all limits or none. The indexes of their meters ascend, without repeats. A call that will ask again, in its
    // turn, leaves its refusal uncounted.
    enum class Refusals : std::uint8_t { Counted, Uncounted };
    [[nodiscard]] Outcome admit(std::span<const Limit> limits, const Demand &demand, Caller caller, std::int64_t now_us,
                                Grant &grant, Refusals refusals = Refusals::Counted) noexcept;

    // Ends a call that has used `tokens`. Tokens charged in excess are given back; missing tokens are charged now, even
    // above the limit; the concurrency ends. `wake(proc_number)` is called with nothing held for each process that
    // waits for that; it must not raise.
    template <class Wake>
    void settle(Grant &grant, std::int64_t tokens, Caller caller, std::int64_t now_us, Wake &&wake) noexcept {
        for (std::uint32_t i = 0; i < grant.count; i++)
            if (const Grant::Item &item = grant.items[i]; item.limit.unit == Unit::Tokens)
                correct(item, tokens, now_us);
        end_leases(grant, caller, wake);
    }

    // The call was not made after all: its charges are given back.
    template <class Wake>
    void undo(Grant &grant, Caller caller, std::int64_t now_us, Wake &&wake) noexcept {
        for (std::uint32_t i = 0; i < grant.count; i++)
            if (const Grant::Item &item = grant.items[i]; item.limit.unit != Unit::Concurrency)
                correct(item, 0, now_us);
        end_leases(grant, caller, wake);
    }

    // The call is over and its charges stay, as its real usage is unknown.
    template <class Wake>
    void end(Grant &grant, Caller caller, Wake &&wake) noexcept {
        end_leases(grant, caller, wake);
    }

    // Called before another admit(): from now on this process is woken once when a call counted by this meter ends.
    void watch(MeterId meter, Caller caller) noexcept;

    // Ends the leases of processes that are gone, and returns how many. `is_alive(proc_number, pid)` tells.
    template <class IsAlive, class Wake>
    std::uint32_t sweep(IsAlive &&is_alive, Wake &&wake) noexcept {
        std::uint32_t ended = 0;
        for (std::uint32_t i = 0; i < processes_; i++)
            for (std::uint32_t lease = 0; lease < kLeases; lease++) {
                const std::uint64_t word = lease_word(i, lease);
                if (word == 0 || is_alive(static_cast<std::int32_t>(i), static_cast<std::int32_t>(word >> 32)))
                    continue;
                if (end_lease(i, lease, word)) {
                    ended++;
                    wake_watchers(meter_of(word), wake);
                }
            }
        return ended;
    }

    // Shows usage and charges nothing. False if the meter now belongs to another key.
    [[nodiscard]] bool peek(const Limit &limit, std::int64_t now_us, Usage &usage) noexcept;
    // Forgets past usage; calls in progress stay counted.
    void reset(MeterId meter) noexcept;
    // For callers that look at all meters; false if this index is not taken.
    [[nodiscard]] bool describe(std::uint32_t index, Key &key, MeterId &meter) noexcept;
    [[nodiscard]] std::uint32_t size() const noexcept { return meters_; }
    [[nodiscard]] std::uint32_t in_use() noexcept;

private:
    static constexpr std::uint32_t kLeases = 30;

    // Admitting touches the first cache line, and now and then an older mark of the window.
    struct alignas(kCacheLine) Meter {
        SpinWord lock;
        std::uint32_t generation = 0;
        std::int32_t under_way = 0;
        // seq_cst, as Seat::watches: either the watcher or the process that ends the call sees the other
        std::atomic<std::uint32_t> watched{0};
        bool has_history = false;
        std::int64_t window_us = 0;  // as of the last charge
        SlidingWindow window;
        std::uint64_t refused = 0;
        Key key;
    };

    struct alignas(kCacheLine) Seat {
        std::atomic<std::uint32_t> watches{0};         // index of the meter, plus 1
        std::atomic<std::uint64_t> leases[kLeases]{};  // acq_rel compare-and-swap: pairs with itself
    };

    RateLimiter(std::uint32_t meters, std::uint32_t processes) noexcept;
    [[nodiscard]] Meter &meter(std::uint32_t index) noexcept;
    [[nodiscard]] Seat &seat(std::uint32_t proc_number) noexcept;
    [[nodiscard]] std::uint64_t *hashes() noexcept;

    [[nodiscard]] static std::uint32_t meter_of(std::uint64_t word) noexcept {
        return static_cast<std::uint32_t>(word) & 0xffff;
    }
    [[nodiscard]] std::uint64_t lease_word(std::uint32_t proc_number, std::uint32_t lease) noexcept;
    [[nodiscard]] bool end_lease(std::uint32_t proc_number, std::uint32_t lease, std::uint64_t word) noexcept;
    [[nodiscard]] bool find_leases(std::span<const Limit> limits, Caller caller, Grant &grant) noexcept;

    enum class Share : std::uint8_t { None, Role, Database };
    [[nodiscard]] Share share_used_up(const Key &key) noexcept;
    [[nodiscard]] bool is_idle(Meter &idle, std::int64_t now_us) noexcept;
    [[nodiscard]] bool fits(Meter &asked, const Limit &limit, std::int64_t amount, std::int64_t now_us) noexcept;
    [[nodiscard]] std::int64_t latest(std::span<const Limit> limits, std::int64_t now_us) noexcept;
    [[nodiscard]] Outcome refusal(std::span<const Limit> limits, const Demand &demand, std::int64_t now_us) noexcept;
    void charge(std::span<const Limit> limits, const Demand &demand, Caller caller, std::int64_t now_us,
                Grant &grant) noexcept;
    void correct(const Grant::Item &item, std::int64_t used, std::int64_t now_us) noexcept;

    template <class Wake>
    void end_leases(Grant &grant, Caller caller, Wake &wake) noexcept {
        for (std::uint32_t i = 0; i < grant.count; i++) {
            const Grant::Item &item = grant.items[i];
            if (item.limit.unit != Unit::Concurrency)
                continue;
            const auto proc_number = static_cast<std::uint32_t>(caller.proc_number);
            const std::uint64_t word = lease_word(proc_number, item.lease);
            if (word != 0 && end_lease(proc_number, item.lease, word))
                wake_watchers(meter_of(word), wake);
        }
        grant.count = 0;
    }

    template <class Wake>
    void wake_watchers(std::uint32_t index, Wake &wake) noexcept {
        if (meter(index).watched.exchange(0) == 0)
            return;
        for (std::uint32_t i = 0; i < processes_; i++) {
            std::uint32_t watched = index + 1;
            if (seat(i).watches.compare_exchange_strong(watched, 0))
                wake(static_cast<std::int32_t>(i));
        }
    }

    std::uint32_t meters_;
    std::uint32_t processes_;
    SpinWord directory_;
    std::uint32_t taken_ = 0;  // meters with a key: they come first
    std::uint32_t next_victim_ = 0;
};

}  // namespace steadytext::shmem
