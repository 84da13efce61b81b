// Gives turns to databases, owners and kinds of workers: see places.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "bgworker/places.hpp"
#include "bgworker/databases.hpp"

#include <algorithm>
#include <iterator>

namespace steadytext::worker {

namespace {

// They may be asleep.
void wake_those_with_places(const shmem::Segment &segment) {
    for (const shmem::DatabaseRow &row : *segment.databases) {
        pg::set_latch_of(row.keeper_proc_number.load());
        pg::set_latch_of(row.queue_proc_number.load());
    }
    const shmem::CallbackWorkers &callbacks = segment.header->callback_workers;
    for (std::uint32_t i = 0; i < shmem::CallbackWorkers::kMost; i++)
        pg::set_latch_of(callbacks.proc_number(i));
}

shmem::CallbackWorkers &callbacks() { return shmem::segment().header->callback_workers; }

// The limiters of the callback workers that this process began, by place. The role's queue worker decides when the
// role's next worker is due.
StartLimiter callback_starts[shmem::CallbackWorkers::kMost];

}  // namespace

WantedWorkers::WantedWorkers(const shmem::Segment &segment, std::span<DatabaseStarts> starts, std::int64_t now_us)
    : segment_(segment), now_us_(now_us) {
    const Size most = 3 * starts.size() + 1;  // with the worker that visits databases
    wanted_ = static_cast<Wanted *>(palloc(sizeof(Wanted) * most));
    held_ = static_cast<Oid *>(palloc(sizeof(Oid) * (2 * most + shmem::CallbackWorkers::kMost)));
    for (std::uint32_t i = 0; i < starts.size(); i++) {
        DatabaseStarts &of = starts[i];
        const shmem::DatabaseRow &row = (*segment.databases)[i];
        const bool is_same = of.database == row.oid.load();
        if (of.keeper.is_under_way(now_us, is_same && row.keeper_failures.load() > 0))
            note_place(of.database);
        if (of.queue_worker.is_under_way(now_us, is_same && row.queue_failures.load() > 0))
            note_place(of.database);
    }
    note_callback_places();
}

// A worker that ended before it came leaves its place to be given up here.
void WantedWorkers::note_callback_places() {
    for (std::uint32_t i = 0; i < std::size(callback_starts); i++) {
        const bool was_begun = callback_starts[i].was_begun();
        const bool has_ended = was_begun && !callback_starts[i].is_under_way(now_us_);
        if (has_ended)
            callback_starts[i].reset();
        if (was_begun ? has_ended && callbacks().is_awaited(i) : callbacks().is_overdue(i, now_us_))
            callbacks().give_up(i);
        if (const Oid database = callbacks().database_of(i); OidIsValid(database))
            note_place(database);
    }
}

void WantedWorkers::note_place(Oid database) { held_[held_count_++] = owner_of(database); }

std::uint32_t WantedWorkers::places_of(Oid owner) const {
    std::uint32_t count = 0;
    for (std::uint32_t i = 0; i < held_count_; i++)
        count += held_[i] == owner;
    return count;
}

bool WantedWorkers::add(StartLimiter &limiter, const char *kind, const char *function, Oid database, std::int64_t &again_us) {
    if (limiter.is_under_way(now_us_))
        return false;  // its end sets the latch
    const std::int64_t since_us = limiter.waits_since(now_us_);
    if (since_us > now_us_) {
        again_us = std::min(again_us, since_us);
        return false;
    }
    wanted_[count_++] = {&limiter, kind, function, {.database = database}, owner_of(database), since_us, nullptr};
    return true;
}

void WantedWorkers::add_callback(std::uint32_t row, Oid database) {
    shmem::WorkerPlaces::Left *left = shmem::worker_places().find_left(row, database);
    const Oid role = left == nullptr ? InvalidOid : left->callback_role.load(std::memory_order_acquire);
    if (!OidIsValid(role) || !can_join(segment_, database, now_us_))
        return;
    const WorkerOrder order{.database = database, .role = role, .deadline_ms = left->callback_deadline_ms.load()};
    const Wanted wanted{nullptr, "callback worker", "steadytext_callback_main", order, owner_of(database), left->callback_since_us.load(), left};
    if (may_begin(wanted))
        wanted_[count_++] = wanted;
}

bool WantedWorkers::may_begin(const Wanted &wanted) { return wanted.limiter != nullptr || callbacks().has_room(wanted.order.database); }

// False: there is no place for it.
bool WantedWorkers::begin_callback(Wanted &chosen, std::int64_t now_us, std::int64_t &again_us) {
    WorkerOrder &order = chosen.order;
    order.place = callbacks().reserve(order.database, order.role, now_us);
    if (order.place != shmem::CallbackWorkers::kNone) {
        StartLimiter &limiter = callback_starts[order.place];
        limiter.reset();  // the worker before has given the place up
        if (!limiter.begin(chosen.kind, chosen.function, order, now_us, again_us)) {
            callbacks().give_up(order.place);
            return false;
        }
    }
    // This tells the queue worker to ask for the next role's worker; also if this role has a worker already.
    chosen.asked_in->callback_role.store(0, std::memory_order_release);
    shmem::DatabaseTable &databases = *shmem::segment().databases;
    if (const std::uint32_t row = databases.find(order.database); row != shmem::DatabaseTable::kNone)
        pg::set_latch_of(databases[row].queue_proc_number.load());
    return true;
}

// Of the owner with the fewest places, the worker that has waited longest.
std::uint32_t WantedWorkers::next() const {
    std::uint32_t best = 0;
    std::uint32_t fewest = places_of(wanted_[0].owner);
    for (std::uint32_t i = 1; i < count_; i++) {
        const std::uint32_t places = places_of(wanted_[i].owner);
        if (places > fewest || (places == fewest && wanted_[i].since_us >= wanted_[best].since_us))
            continue;
        best = i;
        fewest = places;
    }
    return best;
}

void WantedWorkers::begin(std::int64_t &again_us) {
    while (count_ > 0) {
        const std::uint32_t at = next();
        Wanted chosen = wanted_[at];
        if (may_begin(chosen)) {
            if (!(chosen.limiter == nullptr ? begin_callback(chosen, now_us_, again_us)
                                            : chosen.limiter->begin(chosen.kind, chosen.function, chosen.order, now_us_, again_us)))
                break;
            held_[held_count_++] = chosen.owner;
        }
        wanted_[at] = wanted_[--count_];
    }
    // A callback worker without a free callback place does not wait for a place here.
    const auto left = static_cast<std::uint32_t>(std::count_if(wanted_, wanted_ + count_, may_begin));
    std::atomic<std::uint32_t> &waiting = shmem::worker_places().waiting;
    const std::uint32_t before = waiting.exchange(left);
    if (left > 0 && before == 0)
        wake_those_with_places(segment_);
    if (left == 0 && before > 0)
        note_no_worker_waits(segment_);
    pfree(wanted_);
    pfree(held_);
}

}  // namespace steadytext::worker
