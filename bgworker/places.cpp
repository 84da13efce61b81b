// Gives turns to databases, owners and kinds of workers: see places.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "bgworker/places.hpp"
#include "bgworker/databases.hpp"

#include <algorithm>
#include <iterator>

namespace steadytext::worker {

namespace {

shmem::CallbackWorkers &callbacks() { return shmem::segment().header->callback_workers; }

// The workers may be asleep.
void wake_callback_workers() {
    for (std::uint32_t i = 0; i < shmem::CallbackWorkers::kMost; i++)
        pg::set_latch_of(callbacks().proc_number(i));
}
void wake_those_with_places(const shmem::Segment &segment) {
    for (const shmem::DatabaseRow &row : *segment.databases) {
        pg::set_latch_of(row.keeper_proc_number.load());
        pg::set_latch_of(row.queue_proc_number.load());
    }
    wake_callback_workers();
}

// Tells the queue worker that it may ask for another role's worker.
void settle(Oid database, shmem::WorkerPlaces::Left::CallbackWish &wish) {
    wish.role.store(0, std::memory_order_release);
    shmem::DatabaseTable &databases = *shmem::segment().databases;
    if (const std::uint32_t row = databases.find(database); row != shmem::DatabaseTable::kNone)
        pg::set_latch_of(databases[row].queue_proc_number.load());
}

// The limiters of the callback workers that this process began, by place. The role's queue worker decides when the
// role's next worker is due.
StartLimiter callback_starts[shmem::CallbackWorkers::kMost];

core::WorkerTurns turns;  // of all workers that this process began
static_assert(core::WorkerTurns::kCallbacks == shmem::CallbackWorkers::kMost);

}  // namespace

WantedWorkers::WantedWorkers(const shmem::Segment &segment, std::span<DatabaseStarts> starts, std::int64_t now_us)
    : segment_(segment), now_us_(now_us) {
    room_ = static_cast<std::uint32_t>(2 * starts.size() +
                                       1);  // with the worker that visits databases; grows with callbacks
    wanted_ = static_cast<Wanted *>(palloc(sizeof(Wanted) * room_));
    held_room_ = 3 * room_ + shmem::CallbackWorkers::kMost;
    held_ = static_cast<core::WorkerTurns::Place *>(palloc(sizeof(*held_) * held_room_));
    for (std::uint32_t i = 0; i < starts.size(); i++) {
        DatabaseStarts &of = starts[i];
        const shmem::DatabaseRow &row = (*segment.databases)[i];
        const bool is_same = of.database == row.oid.load();
        if (of.keeper.is_under_way(now_us, is_same && row.keeper_failures.load() > 0))
            note_place(of.database);
        if (of.node_worker.is_under_way(now_us))
            note_place(of.database);
        const bool has_queue_worker = of.queue_worker.is_under_way(now_us, is_same && row.queue_failures.load() > 0);
        if (has_queue_worker)
            note_place(of.database);
        else if (row.queue_pid.load() != 0)
            note_place(row.oid.load());  // started to visit the database, and stayed
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
            note_place(database, callbacks().role_of(i));
    }
}

void WantedWorkers::note_place(Oid database, Oid role) {
    if (held_count_ == held_room_)
        held_ = static_cast<core::WorkerTurns::Place *>(repalloc(held_, sizeof(*held_) * (held_room_ *= 2)));
    held_[held_count_++] = {owner_of(database), database, role};
}

void WantedWorkers::push(const Wanted &wanted) {
    if (count_ == room_)
        wanted_ = static_cast<Wanted *>(repalloc(wanted_, sizeof(Wanted) * (room_ *= 2)));
    wanted_[count_++] = wanted;
}

bool WantedWorkers::add(StartLimiter &limiter, const char *kind, const char *function, Oid database,
                        std::int64_t &again_us) {
    if (limiter.is_under_way(now_us_))
        return false;  // its end sets the latch
    const std::int64_t since_us = limiter.waits_since(now_us_);
    if (since_us > now_us_) {
        again_us = std::min(again_us, since_us);
        return false;
    }
    push({{{owner_of(database), database, InvalidOid}, since_us},
          &limiter,
          kind,
          function,
          {.database = database},
          nullptr});
    return true;
}

void WantedWorkers::add_callbacks(std::uint32_t row, Oid database) {
    shmem::WorkerPlaces::Left *left = shmem::worker_places().find_left(row, database);
    if (left == nullptr)
        return;
    for (shmem::WorkerPlaces::Left::CallbackWish &wish : left->callbacks) {
        const Oid role = wish.role.load(std::memory_order_acquire);
        if (!OidIsValid(role) || !can_join(segment_, database, now_us_))
            continue;
        const WorkerOrder order{.database = database, .role = role, .deadline_ms = wish.deadline_ms.load()};
        if (callbacks().find(database, role) != shmem::CallbackWorkers::kNone)
            settle(database, wish);  // the role has one already
        else
            push({{{owner_of(database), database, role}, wish.since_us.load()},
                  nullptr,
                  "callback worker",
                  "steadytext_callback_main",
                  order,
                  &wish});
    }
}

// False: there is no place for it.
bool WantedWorkers::begin_callback(Wanted &chosen, std::int64_t now_us, std::int64_t &again_us) {
    WorkerOrder &order = chosen.order;
    order.place = callbacks().reserve(order.database, order.role, now_us);
    if (order.place == shmem::CallbackWorkers::kNone)
        return false;
    StartLimiter &limiter = callback_starts[order.place];
    limiter.reset();  // the worker before has given the place up
    if (!limiter.begin(chosen.kind, chosen.function, order, now_us, again_us)) {
        callbacks().give_up(order.place);
        return false;
    }
    settle(order.database, *chosen.asked_in);
    return true;
}

void WantedWorkers::begin(std::int64_t &again_us) {
    while (count_ > 0) {
        const std::uint32_t at = turns.next(std::span<const Wanted>(wanted_, count_), {held_, held_count_});
        if (at == core::WorkerTurns::kNone)
            break;
        Wanted chosen = wanted_[at];
        if (!(chosen.limiter == nullptr
                  ? begin_callback(chosen, now_us_, again_us)
                  : chosen.limiter->begin(chosen.kind, chosen.function, chosen.order, now_us_, again_us)))
            break;
        note_place(chosen.database, chosen.role);
        turns.got(chosen);
        wanted_[at] = wanted_[--count_];
    }
    tell_who_waits();
    pfree(wanted_);
    pfree(held_);
}

void WantedWorkers::tell_who_waits() const {
    shmem::WorkerPlaces &places = shmem::worker_places();
    const auto for_callback_place =
        static_cast<std::uint32_t>(std::count_if(wanted_, wanted_ + count_, [&](const Wanted &wanted) {
            return wanted.limiter == nullptr && !core::WorkerTurns::is_within_shares(wanted, {held_, held_count_});
        }));
    if (places.waiting_callbacks.exchange(for_callback_place) == 0 && for_callback_place > 0)
        wake_callback_workers();
    const std::uint32_t left = count_ - for_callback_place;
    const std::uint32_t before = places.waiting.exchange(left);
    if (left > 0 && before == 0)
        wake_those_with_places(segment_);
    if (left == 0 && before > 0)
        note_no_worker_waits(segment_);
}

}  // namespace steadytext::worker
