// Turns over databases, owners and kinds of workers: see places.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "bgworker/places.hpp"
#include "bgworker/databases.hpp"

#include <algorithm>

namespace steadytext::worker {

namespace {

// They may be at rest.
void wake_those_with_places(const shmem::Segment &segment) {
    for (const shmem::DatabaseRow &row : *segment.databases) {
        pg::set_latch_of(row.keeper_proc_number.load());
        pg::set_latch_of(row.queue_proc_number.load());
    }
}

}  // namespace

WantedWorkers::WantedWorkers(const shmem::Segment &segment, std::span<DatabaseStarts> starts, std::int64_t now_us)
    : segment_(segment), now_us_(now_us) {
    const Size most = 2 * starts.size() + 1;  // with the one that visits databases
    wanted_ = static_cast<Wanted *>(palloc(sizeof(Wanted) * most));
    held_ = static_cast<Oid *>(palloc(sizeof(Oid) * 2 * most));
    for (std::uint32_t i = 0; i < starts.size(); i++) {
        DatabaseStarts &of = starts[i];
        const shmem::DatabaseRow &row = (*segment.databases)[i];
        const bool is_same = of.database == row.oid.load();
        if (of.keeper.is_under_way(now_us, is_same && row.keeper_failures.load() > 0))
            note_place(of.database);
        if (of.queue_worker.is_under_way(now_us, is_same && row.queue_failures.load() > 0))
            note_place(of.database);
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
    wanted_[count_++] = {&limiter, kind, function, database, owner_of(database), since_us};
    return true;
}

// Of the owner who has the fewest places, the one that has waited longest.
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
        const Wanted chosen = wanted_[at];
        if (!chosen.limiter->begin(chosen.kind, chosen.function, {.database = chosen.database}, now_us_, again_us))
            break;
        held_[held_count_++] = chosen.owner;
        wanted_[at] = wanted_[--count_];
    }
    std::atomic<std::uint32_t> &waiting = shmem::worker_places().waiting;
    const std::uint32_t before = waiting.exchange(count_);
    if (count_ > 0 && before == 0)
        wake_those_with_places(segment_);
    if (count_ == 0 && before > 0)
        note_no_worker_waits(segment_);
    pfree(wanted_);
    pfree(held_);
}

}  // namespace steadytext::worker
