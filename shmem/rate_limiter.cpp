// The rate limiter: see rate_limiter.hpp for the protocol. Regime: pure.
#include "shmem/rate_limiter.hpp"

#include <algorithm>
#include <cstring>
#include <new>
#include <type_traits>

namespace steadytext::shmem {

static_assert(std::is_standard_layout_v<RateLimiter> && std::is_trivially_destructible_v<RateLimiter>);
static_assert(std::is_trivially_destructible_v<RateLimiter::Grant>);
static_assert(std::has_unique_object_representations_v<RateLimiter::Key>, "keys are compared and hashed as bytes");

namespace {

// FNV-1a; 0 is kept for "none".
std::uint64_t hash_of(const RateLimiter::Key &key) noexcept {
    std::uint64_t hash = 14'695'981'039'346'656'037U;
    const auto *bytes = reinterpret_cast<const unsigned char *>(&key);
    for (std::size_t i = 0; i < sizeof key; i++)
        hash = (hash ^ bytes[i]) * 1'099'511'628'211U;
    return hash | 1;
}

std::uint64_t word_of(RateLimiter::MeterId meter, std::int32_t pid) noexcept {
    return std::uint64_t{static_cast<std::uint32_t>(pid)} << 32 | std::uint64_t{meter.generation & 0xffff} << 16 |
           meter.index;
}

}  // namespace

bool RateLimiter::Key::operator==(const Key &other) const noexcept {
    return std::memcmp(this, &other, sizeof *this) == 0;
}

// ---- layout: the object, hashes, meters, seats ---------------------------------------------------------------------

std::size_t RateLimiter::bytes_needed(std::uint32_t meters, std::uint32_t processes) noexcept {
    return round_up(sizeof(RateLimiter)) + round_up(meters * sizeof(std::uint64_t)) + meters * sizeof(Meter) +
           processes * sizeof(Seat);
}

RateLimiter *RateLimiter::place(void *memory, std::uint32_t meters, std::uint32_t processes) noexcept {
    return new (memory) RateLimiter(meters, processes);
}

RateLimiter::RateLimiter(std::uint32_t meters, std::uint32_t processes) noexcept
    : meters_(meters), processes_(processes) {
    std::memset(hashes(), 0, meters * sizeof(std::uint64_t));
    for (std::uint32_t i = 0; i < meters_; i++)
        new (&meter(i)) Meter;
    for (std::uint32_t i = 0; i < processes_; i++)
        new (&seat(i)) Seat;
}

std::uint64_t *RateLimiter::hashes() noexcept {
    return reinterpret_cast<std::uint64_t *>(reinterpret_cast<char *>(this) + round_up(sizeof(RateLimiter)));
}

RateLimiter::Meter &RateLimiter::meter(std::uint32_t index) noexcept {
    return reinterpret_cast<Meter *>(reinterpret_cast<char *>(hashes()) +
                                     round_up(meters_ * sizeof(std::uint64_t)))[index];
}

RateLimiter::Seat &RateLimiter::seat(std::uint32_t proc_number) noexcept {
    return reinterpret_cast<Seat *>(&meter(meters_))[proc_number];
}

// ---- the directory -------------------------------------------------------------------------------------------------

bool RateLimiter::is_idle(Meter &idle, std::int64_t now_us) noexcept {
    return idle.under_way == 0 && idle.window.used(idle.window_us, now_us) == 0;
}

bool RateLimiter::find(const Key &key, std::int64_t now_us, MeterId &found) noexcept {
    const std::uint64_t hash = hash_of(key);
    const SpinHold hold(directory_);
    for (std::uint32_t i = 0; i < taken_; i++) {
        if (hashes()[i] != hash || !(meter(i).key == key))
            continue;
        found = {i, meter(i).generation};
        return true;
    }
    const Share over = share_used_up(key);
    for (std::uint32_t tried = 0; tried < meters_; tried++) {
        const bool unused = taken_ < meters_ && over == Share::None;
        const std::uint32_t index = unused ? taken_ : next_victim_++ % taken_;
        Meter &taken = meter(index);
        if ((over == Share::Role && taken.key.role != key.role) ||
            (over == Share::Database && taken.key.database != key.database))
            continue;
        const SpinHold hold_meter(taken.lock);
        if (!is_idle(taken, now_us))
            continue;
        taken.key = key;
        taken.refused = 0;
        taken.has_history = false;
        taken.window.clear();
        found = {index, ++taken.generation};
        hashes()[index] = hash;
        taken_ += unused;
        return true;
    }
    return false;
}

// With the directory held. Seldom: a key has its meter for long.
RateLimiter::Share RateLimiter::share_used_up(const Key &key) noexcept {
    std::uint32_t of_role = 0, of_database = 0;
    for (std::uint32_t i = 0; i < taken_; i++) {
        of_role += key.role != 0 && meter(i).key.role == key.role;
        of_database += key.database != 0 && meter(i).key.database == key.database;
    }
    constexpr std::uint32_t kLeast = kMaxLimits;  // a single call may need as many
    if (of_role >= std::max(kLeast, meters_ / 4))
        return Share::Role;
    return of_database >= std::max(kLeast, meters_ / 4 * 3) ? Share::Database : Share::None;
}

bool RateLimiter::describe(std::uint32_t index, Key &key, MeterId &described) noexcept {
    const SpinHold hold(directory_);
    if (index >= taken_)
        return false;
    key = meter(index).key;
    described = {index, meter(index).generation};
    return true;
}

std::uint32_t RateLimiter::in_use() noexcept {
    const SpinHold hold(directory_);
    return taken_;
}

// ---- history -------------------------------------------------------------------------------------------------------

bool RateLimiter::has_history(MeterId which) noexcept {
    Meter &asked = meter(which.index);
    const SpinHold hold(asked.lock);
    return asked.generation == which.generation && asked.has_history;
}

void RateLimiter::add_history(MeterId which, std::span<const Past> history, std::int64_t window_us,
                              std::int64_t now_us) noexcept {
    Meter &taken = meter(which.index);
    const SpinHold hold(taken.lock);
    if (taken.generation != which.generation || taken.has_history)
        return;
    taken.has_history = true;
    taken.window_us = window_us;
    taken.window.begin_at(history.empty() ? now_us : history.front().at_us);
    for (const Past &past : history)
        (void)taken.window.charge(past.amount, window_us, past.at_us);
}

// ---- admission -----------------------------------------------------------------------------------------------------

RateLimiter::Outcome RateLimiter::admit(std::span<const Limit> limits, const Demand &demand, Caller caller,
                                        std::int64_t now_us, Grant &grant, Refusals refusals) noexcept {
    grant.count = 0;
    if (!find_leases(limits, caller, grant))
        return {Verdict::NoLeases};
    for (const Limit &limit : limits)
        meter(limit.meter.index).lock.acquire();
    now_us = latest(limits, now_us);
    Outcome outcome = refusal(limits, demand, now_us);
    outcome.at_us = now_us;
    if (outcome.verdict == Verdict::Admitted)
        charge(limits, demand, caller, now_us, grant);
    else if (outcome.verdict == Verdict::Refused && refusals == Refusals::Counted)
        meter(limits[outcome.refused_by].meter.index).refused++;
    for (const Limit &limit : limits)
        meter(limit.meter.index).lock.release();
    return outcome;
}

std::int64_t RateLimiter::latest(std::span<const Limit> limits, std::int64_t now_us) noexcept {
    for (const Limit &limit : limits)
        now_us = std::max(now_us, meter(limit.meter.index).window.last_us());
    return now_us;
}

bool RateLimiter::fits(Meter &asked, const Limit &limit, std::int64_t amount, std::int64_t now_us) noexcept {
    return limit.unit == Unit::Concurrency ? asked.under_way < limit.most
                                           : asked.window.fits(amount, limit.most, limit.window_us, now_us);
}

// With the meters held: the limit that refuses the call, if any.
RateLimiter::Outcome RateLimiter::refusal(std::span<const Limit> limits, const Demand &demand,
                                          std::int64_t now_us) noexcept {
    Outcome outcome;
    for (std::size_t i = 0; i < limits.size(); i++) {
        const Limit &limit = limits[i];
        Meter &asked = meter(limit.meter.index);
        if (asked.generation != limit.meter.generation)
            return {Verdict::Stale};
        const std::int64_t amount = demand.of(limit.unit);
        if (fits(asked, limit, amount, now_us))
            continue;
        const bool rate = limit.unit != Unit::Concurrency;
        const std::int64_t wait_us = rate ? asked.window.wait_us(amount, limit.most, limit.window_us, now_us)
                                     : limit.most == 0 ? kNever
                                                       : 0;
        if (outcome.verdict == Verdict::Refused && wait_us <= outcome.wait_us)
            continue;
        const std::int64_t used = rate ? asked.window.used(limit.window_us, now_us) : asked.under_way;
        outcome = {Verdict::Refused, i, wait_us, std::max<std::int64_t>(limit.most - used, 0)};
    }
    return outcome;
}

void RateLimiter::charge(std::span<const Limit> limits, const Demand &demand, Caller caller, std::int64_t now_us,
                         Grant &grant) noexcept {
    for (std::size_t i = 0; i < limits.size(); i++) {
        Meter &charged = meter(limits[i].meter.index);
        Grant::Item &item = grant.items[i];
        item.limit = limits[i];
        item.amount = demand.of(limits[i].unit);
        if (limits[i].unit == Unit::Concurrency) {
            charged.under_way++;
            seat(static_cast<std::uint32_t>(caller.proc_number))
                .leases[item.lease]
                .store(word_of(limits[i].meter, caller.pid), std::memory_order_release);
        } else {
            charged.window_us = limits[i].window_us;
            item.mark = charged.window.charge(item.amount, limits[i].window_us, now_us);
        }
    }
    grant.count = static_cast<std::uint32_t>(limits.size());
}

void RateLimiter::correct(const Grant::Item &item, std::int64_t used, std::int64_t now_us) noexcept {
    Meter &charged = meter(item.limit.meter.index);
    const SpinHold hold(charged.lock);
    if (charged.generation != item.limit.meter.generation)
        return;
    if (used < item.amount)
        charged.window.give_back(item.mark, item.amount - used);
    else if (used > item.amount)
        (void)charged.window.charge(used - item.amount, item.limit.window_us, now_us);
}

bool RateLimiter::peek(const Limit &limit, std::int64_t now_us, Usage &usage) noexcept {
    Meter &seen = meter(limit.meter.index);
    const SpinHold hold(seen.lock);
    if (seen.generation != limit.meter.generation)
        return false;
    usage.refused = seen.refused;
    if (limit.unit == Unit::Concurrency) {
        usage.used = seen.under_way;
        usage.wait_us = 0;
        return true;
    }
    usage.used = seen.window.used(limit.window_us, now_us);
    usage.wait_us = seen.window.wait_us(1, limit.most, limit.window_us, now_us);
    return true;
}

void RateLimiter::reset(MeterId which) noexcept {
    Meter &reset = meter(which.index);
    const SpinHold hold(reset.lock);
    if (reset.generation != which.generation)
        return;
    reset.window.clear();
    reset.refused = 0;
}

// ---- leases --------------------------------------------------------------------------------------------------------

// Finds a place in the caller's seat for each concurrency limit. Only the process itself puts words there, so a free
// place stays free.
bool RateLimiter::find_leases(std::span<const Limit> limits, Caller caller, Grant &grant) noexcept {
    const auto proc_number = static_cast<std::uint32_t>(caller.proc_number);
    std::uint32_t next = 0;
    for (std::size_t i = 0; i < limits.size(); i++) {
        if (limits[i].unit != Unit::Concurrency)
            continue;
        for (;; next++) {
            if (next == kLeases)
                return false;
            const std::uint64_t word = lease_word(proc_number, next);
            if (word == 0)
                break;
            // A word of another process in this seat was left by the process that had the seat before.
            if (word >> 32 != static_cast<std::uint32_t>(caller.pid) && end_lease(proc_number, next, word))
                break;
        }
        grant.items[i].lease = next++;
    }
    return true;
}

std::uint64_t RateLimiter::lease_word(std::uint32_t proc_number, std::uint32_t lease) noexcept {
    return seat(proc_number).leases[lease].load(std::memory_order_acquire);
}

bool RateLimiter::end_lease(std::uint32_t proc_number, std::uint32_t lease, std::uint64_t word) noexcept {
    if (!seat(proc_number).leases[lease].compare_exchange_strong(word, 0, std::memory_order_acq_rel))
        return false;
    // A meter that counts a call is never given to another key, so it is still the meter that the word names.
    Meter &counted = meter(meter_of(word));
    const SpinHold hold(counted.lock);
    counted.under_way--;
    return true;
}

void RateLimiter::watch(MeterId which, Caller caller) noexcept {
    seat(static_cast<std::uint32_t>(caller.proc_number)).watches.store(which.index + 1);
    meter(which.index).watched.store(1);
}

}  // namespace steadytext::shmem
