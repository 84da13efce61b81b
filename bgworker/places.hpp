// The places among max_worker_processes: who gets the next one, and when those that have one leave it to others.
//
// Regime: pg. Where there are places enough, nobody waits and no worker leaves sooner. While somebody waits, a keeper, queue worker or callback worker
// leaves once it has had kTurnUs, at a point where nothing is lost, and the next place goes to a database of the owner who has the fewest, among those
// to whoever has waited longest, of whichever kind. So the wait grows with the number of owners who want something, and not with the databases, the
// jobs, the callbacks or the failures of one. A worker that fails leaves before it pauses: the pause (start_limiter.hpp) takes no place. Of callback
// workers a database wants one at a time, for the role whose turn it is there (src/queue/callbacks.cpp); one that waits because there are as many callback
// workers as may be (shmem/callback_workers.hpp) waits for no place here, and sends nobody away.
#pragma once

#include "bgworker/start_limiter.hpp"
#include "src/pg/postgres.hpp"
#include "shmem/segment.hpp"
#include "shmem/worker_places.hpp"
#include "src/core/clock.hpp"

#include <span>

namespace steadytext::worker {

// What the launcher knows of the workers of each row of shmem/database_table.hpp.
struct DatabaseStarts {
    Oid database = InvalidOid;
    StartLimiter keeper, queue_worker;

    // The row may have come to another database since.
    void belong_to(Oid now) {
        if (now == database)
            return;
        database = now;
        keeper.reset();
        queue_worker.reset();
    }
};

// The workers that the launcher would begin now, in one look.
class WantedWorkers {
public:
    struct Wanted {
        StartLimiter *limiter;  // null: that of the place which a callback worker will have
        const char *kind, *function;
        WorkerOrder order;
        Oid owner;
        std::int64_t since_us;
        shmem::WorkerPlaces::Left *asked_in;  // of a callback worker
    };

    // Of all that were begun, notes which have ended.
    WantedWorkers(const shmem::Segment &segment, std::span<DatabaseStarts> starts, std::int64_t now_us);

    // True: it waits for its turn. False: it is on its way, or its pause is not over, which lowers `again_us`.
    bool add(StartLimiter &limiter, const char *kind, const char *function, Oid database, std::int64_t &again_us);
    // The callback worker that the database of this row wants, if it wants one.
    void add_callback(std::uint32_t row, Oid database);
    // As many as there are places for; tells those that have one whether somebody waits.
    void begin(std::int64_t &again_us);

private:
    void note_place(Oid database);
    void note_callback_places();
    [[nodiscard]] static bool may_begin(const Wanted &wanted);
    [[nodiscard]] static bool begin_callback(Wanted &chosen, std::int64_t now_us, std::int64_t &again_us);
    [[nodiscard]] std::uint32_t places_of(Oid owner) const;
    [[nodiscard]] std::uint32_t next() const;

    const shmem::Segment &segment_;
    std::int64_t now_us_;
    Wanted *wanted_;  // in CurrentMemoryContext
    std::uint32_t count_ = 0;
    Oid *held_;  // the owners of the databases whose workers have places
    std::uint32_t held_count_ = 0;
};

inline constexpr std::int64_t kTurnUs = 1'000'000;

// When a worker that began then is to leave its place to somebody else; INT64_MAX: nobody waits.
[[nodiscard]] inline std::int64_t turn_ends_us(std::int64_t began_us) {
    return shmem::worker_places().waiting.load(std::memory_order_relaxed) == 0 ? INT64_MAX : began_us + kTurnUs;
}
[[nodiscard]] inline bool turn_is_over(std::int64_t began_us) { return core::monotonic_us() >= turn_ends_us(began_us); }

}  // namespace steadytext::worker
