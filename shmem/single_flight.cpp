// Single flight: see single_flight.hpp for the protocol. Regime: pure.
#include "shmem/single_flight.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>
#include <type_traits>

namespace steadytext::shmem {

static_assert(std::atomic<SingleFlight::Progress>::is_always_lock_free);
static_assert(std::is_standard_layout_v<SingleFlight> && std::is_trivially_destructible_v<SingleFlight>);
static_assert(std::is_trivially_destructible_v<SingleFlight::Ticket>);

// ---- layout: the object, buckets, seats, flights ----------------------------------------------------------

namespace {

std::uint32_t buckets_for(std::uint32_t flights) noexcept { return std::bit_ceil(std::max(flights, 1U)); }

}  // namespace

std::size_t SingleFlight::bytes_needed(std::uint32_t flights, std::uint32_t processes) noexcept {
    return round_up(sizeof(SingleFlight)) + round_up(buckets_for(flights) * sizeof(Bucket)) + processes * sizeof(Seat) +
           flights * sizeof(Flight);
}

SingleFlight *SingleFlight::place(void *memory, std::uint32_t flights, std::uint32_t processes) noexcept {
    return new (memory) SingleFlight(flights, processes);
}

SingleFlight::SingleFlight(std::uint32_t flights, std::uint32_t processes) noexcept
    : flights_(flights), processes_(processes), buckets_(buckets_for(flights)) {
    for (std::uint32_t i = 0; i < buckets_; i++)
        new (&bucket(i)) Bucket;
    for (std::uint32_t i = 0; i < processes_; i++)
        new (&seat(static_cast<std::int32_t>(i))) Seat;
    for (std::uint32_t i = 0; i < flights_; i++) {
        new (&flight(i)) Flight;
        flight(i).next = i + 1 < flights_ ? i + 1 : kNone;
    }
    first_free_ = flights_ > 0 ? 0 : kNone;
}

SingleFlight::Bucket &SingleFlight::bucket(std::uint32_t index) noexcept {
    return reinterpret_cast<Bucket *>(reinterpret_cast<char *>(this) + round_up(sizeof(SingleFlight)))[index];
}

SingleFlight::Seat &SingleFlight::seat(std::int32_t proc_number) noexcept {
    char *seats = reinterpret_cast<char *>(&bucket(0)) + round_up(buckets_ * sizeof(Bucket));
    return reinterpret_cast<Seat *>(seats)[proc_number];
}

SingleFlight::Flight &SingleFlight::flight(std::uint32_t index) noexcept {
    char *flights = reinterpret_cast<char *>(&seat(0)) + processes_ * sizeof(Seat);
    return reinterpret_cast<Flight *>(flights)[index];
}

// ---- called by sessions ----------------------------------------------------------------------------------

void SingleFlight::attend(std::int32_t proc_number, std::int64_t at_us) noexcept {
    if (proc_number >= 0 && static_cast<std::uint32_t>(proc_number) < processes_)
        seat(proc_number).attended_us.store(at_us, std::memory_order_relaxed);
}

bool SingleFlight::is_abandoned(std::uint32_t index, std::int64_t now_us) noexcept {
    const std::int32_t leader = flight(index).leader.load(std::memory_order_relaxed);
    if (leader == kNobody)
        return false;
    const std::int64_t attended_us = seat(leader).attended_us.load(std::memory_order_relaxed);
    return attended_us != kAttends && now_us - attended_us > kPatienceUs;
}

SingleFlight::Role SingleFlight::join(const core::Digest &key, std::int32_t proc_number, std::int64_t now_us,
                                      Ticket &ticket) noexcept {
    ticket = Ticket{};
    if (proc_number < 0 || static_cast<std::uint32_t>(proc_number) >= processes_)
        return Role::Alone;
    std::uint64_t hash;  // the key is already a hash
    std::memcpy(&hash, key.bytes, sizeof hash);
    const auto here = static_cast<std::uint32_t>(hash & (buckets_ - 1));
    Seat &mine = seat(proc_number);

    const SpinHold hold(bucket(here).lock);
    std::uint32_t index = find(bucket(here), key);
    if (index != kNone && is_abandoned(index, now_us)) {
        close(index);  // its leader and its waiters are in it until they leave
        index = kNone;
    }
    if (index != kNone) {
        if (mine.leads > 0 || mine.progress.load(std::memory_order_relaxed) != Progress::None)
            return Role::Led;
        mine.progress.store(Progress::Pending, std::memory_order_relaxed);
        append_waiter(flight(index), proc_number);
        flight(index).users++;
        ticket = {index, proc_number, false};
        return Role::Waiter;
    }
    index = take_free();
    if (index == kNone)
        return Role::Alone;
    open(index, key, here);
    flight(index).users = 1;
    flight(index).leader.store(proc_number, std::memory_order_relaxed);
    mine.leads++;
    ticket = {index, proc_number, true};
    return Role::Leader;
}

SingleFlight::Progress SingleFlight::poll(Ticket &ticket) noexcept {
    if (ticket.leads)
        return Progress::Lead;
    Seat &mine = seat(ticket.proc_number);
    const Progress progress = mine.progress.load(std::memory_order_acquire);  // pairs with tell_some(), hand_over()
    if (progress == Progress::Lead) {
        mine.progress.store(Progress::None, std::memory_order_relaxed);
        ticket.leads = true;
    }
    return progress;
}

bool SingleFlight::take(Ticket &ticket, char *buffer, PayloadPool &pool) noexcept {
    const bool intact = pool.copy_out(flight(ticket.flight).answer, buffer);
    (void)depart(ticket, pool);  // a session with an answer leads nothing
    return intact;
}

// ---- how flights end --------------------------------------------------------------------------------------

// Stores the answer for the waiters. Without waiters it stores nothing and closes the flight in the same
// step, so that no waiter can come later. False if the pool has no room.
bool SingleFlight::offer(const Ticket &ticket, std::string_view value, PayloadPool &pool) noexcept {
    Flight &mine = flight(ticket.flight);
    {
        const SpinHold hold(bucket(mine.bucket).lock);
        if (mine.first_waiter == kNobody) {
            close(ticket.flight);
            return true;
        }
    }
    return pool.store(value, mine.answer);
}

// Closes the flight and tells the outcome to the first of its waiters.
SingleFlight::Told SingleFlight::tell_some(const Ticket &ticket, Progress outcome) noexcept {
    Flight &mine = flight(ticket.flight);
    Told told;
    const SpinHold hold(bucket(mine.bucket).lock);
    close(ticket.flight);
    while (mine.first_waiter != kNobody && told.count < std::size(told.proc_numbers)) {
        const std::int32_t waiter = mine.first_waiter;
        remove_waiter(mine, waiter);
        told.proc_numbers[told.count++] = waiter;
        seat(waiter).progress.store(outcome, std::memory_order_release);  // pairs with poll()
    }
    told.more = mine.first_waiter != kNobody;
    return told;
}

// Ends the ticket's part in the flight. Returns the new leader, which has to be woken, or kNobody.
std::int32_t SingleFlight::depart(Ticket &ticket, PayloadPool &pool) noexcept {
    if (ticket.is_empty())
        return kNobody;
    Flight &left = flight(ticket.flight);
    Seat &mine = seat(ticket.proc_number);
    std::int32_t heir = kNobody;
    bool last;
    {
        const SpinHold hold(bucket(left.bucket).lock);
        // Under the lock nobody changes it. A session that was made leader is the leader even if it has not
        // noticed yet.
        const Progress progress = ticket.leads ? Progress::Lead : mine.progress.load(std::memory_order_relaxed);
        if (progress == Progress::Pending)
            remove_waiter(left, ticket.proc_number);
        if (progress == Progress::Lead) {
            mine.leads--;
            heir = hand_over(ticket.flight);
        }
        if (!ticket.leads)
            mine.progress.store(Progress::None, std::memory_order_relaxed);
        last = --left.users == 0;
    }
    if (last) {
        pool.free(left.answer);
        give_free(ticket.flight);
    }
    ticket = Ticket{};
    return heir;
}

// ---- under the bucket's lock ------------------------------------------------------------------------------

std::uint32_t SingleFlight::find(const Bucket &bucket, const core::Digest &key) noexcept {
    std::uint32_t index = bucket.first;
    while (index != kNone && std::memcmp(flight(index).key.bytes, key.bytes, sizeof key.bytes) != 0)
        index = flight(index).next;
    return index;
}

void SingleFlight::open(std::uint32_t index, const core::Digest &key, std::uint32_t here) noexcept {
    Flight &opened = flight(index);
    opened.key = key;
    opened.bucket = here;
    opened.open = true;
    opened.next = bucket(here).first;
    bucket(here).first = index;
}

void SingleFlight::close(std::uint32_t index) noexcept {
    Flight &closed = flight(index);
    if (!closed.open)
        return;
    std::uint32_t *link = &bucket(closed.bucket).first;
    while (*link != index)
        link = &flight(*link).next;
    *link = closed.next;
    closed.open = false;
}

void SingleFlight::append_waiter(Flight &flight, std::int32_t proc_number) noexcept {
    Seat &added = seat(proc_number);
    added.next = kNobody;
    added.previous = flight.last_waiter;
    (added.previous == kNobody ? flight.first_waiter : seat(added.previous).next) = proc_number;
    flight.last_waiter = proc_number;
}

void SingleFlight::remove_waiter(Flight &flight, std::int32_t proc_number) noexcept {
    const Seat &removed = seat(proc_number);
    (removed.previous == kNobody ? flight.first_waiter : seat(removed.previous).next) = removed.next;
    (removed.next == kNobody ? flight.last_waiter : seat(removed.next).previous) = removed.previous;
}

// Makes the first waiter the leader; without waiters the flight is over.
std::int32_t SingleFlight::hand_over(std::uint32_t index) noexcept {
    const std::int32_t heir = flight(index).first_waiter;
    flight(index).leader.store(heir, std::memory_order_relaxed);
    if (heir == kNobody) {
        close(index);
        return kNobody;
    }
    remove_waiter(flight(index), heir);
    seat(heir).leads++;
    seat(heir).progress.store(Progress::Lead, std::memory_order_release);  // pairs with poll()
    return heir;
}

// ---- free flights -----------------------------------------------------------------------------------------

std::uint32_t SingleFlight::take_free() noexcept {
    const SpinHold hold(free_lock_);
    const std::uint32_t index = first_free_;
    if (index != kNone) {
        first_free_ = flight(index).next;
        in_use_.fetch_add(1, std::memory_order_relaxed);
    }
    return index;
}

void SingleFlight::give_free(std::uint32_t index) noexcept {
    const SpinHold hold(free_lock_);
    flight(index).next = first_free_;
    first_free_ = index;
    in_use_.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace steadytext::shmem
